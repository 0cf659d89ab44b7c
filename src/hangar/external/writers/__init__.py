"""Writers of files that hold many samples: HDF5, npz, zarr, Parquet, CSV, and tar archives."""
