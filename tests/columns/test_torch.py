"""Columns as torch takes arrays: collected where torch is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hangar.checkout import WriterCheckout
from hangar.errors import InvalidInputError, InvalidTypeError


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_a_column_of_a_fixed_shape_is_a_tensor(dtype: str, shape: tuple[int, ...], writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("c", shape, getattr(torch, dtype))
    values = np.arange(5 * int(np.prod(shape))).reshape(5, *shape).astype(dtype)
    column.write([3, 1, "b", "a", 2], values)
    expected = values[[1, 4, 0, 3, 2]]
    for tensor in (torch.from_dlpack(column), torch.as_tensor(column), torch.tensor(column)):
        assert tensor.dtype == getattr(torch, dtype)
        assert np.array_equal(tensor.numpy(), expected)
    tensor = torch.from_dlpack(column)
    tensor.zero_()  # It is the caller's own.
    assert np.array_equal(np.asarray(column), expected)


def test_a_sample_of_a_nested_column_is_one_too(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("c", (3,), np.float32, contains_subsamples=True)
    column["s"] = {0: np.ones(3, np.float32), 1: np.zeros(3, np.float32)}
    assert torch.as_tensor(column["s"]).tolist() == torch.from_dlpack(column["s"]).tolist() == [[1] * 3, [0] * 3]


def test_what_is_no_tensor(writer: WriterCheckout) -> None:
    ragged = writer.add_ndarray_column("r", (3,), np.float32, variable_shape=True)
    ragged.update({0: np.ones(1, np.float32), 1: np.ones(2, np.float32)})
    with pytest.raises(InvalidInputError, match="different shapes"):
        torch.from_dlpack(ragged)
    text = writer.add_str_column("t")
    text["k"] = "v"
    with pytest.raises(InvalidTypeError, match="a column of str is no array"):
        torch.from_dlpack(text)


def test_dtypes_of_torch(writer: WriterCheckout) -> None:
    for dtype in (torch.float32, torch.uint8, torch.bool, torch.bfloat16, torch.float8_e5m2, torch.complex128):
        name = str(dtype).removeprefix("torch.")
        assert str(writer.add_ndarray_column(name, (2,), dtype).dtype) == name


def test_a_nested_column_is_no_tensor(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("c", (3,), np.float32, contains_subsamples=True)
    column["s"] = {0: np.ones(3, np.float32)}
    for make in (torch.from_dlpack, np.from_dlpack, np.asarray):
        with pytest.raises(InvalidTypeError, match="a nested column is not an array, but its samples are"):
            make(column)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_tensors_of_dtypes_that_numpy_lacks(name: str, shape: tuple[int, ...], writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("c", shape, getattr(torch, name))
    values = (torch.arange(4 * int(np.prod(shape))).reshape(4, *shape) / 2).to(getattr(torch, name))
    column.write([0, 1, 2, 3], values)
    column[4] = values[1]
    column.update({5: values[2].clone()})
    for key, value in enumerate([*values, values[1], values[2]]):
        assert str(column[key].dtype) == name
        assert np.array_equal(column[key].astype(np.float32), value.float().numpy())
    with pytest.raises(InvalidInputError, match="dtype: "):
        column[6] = values[0].float()
    with pytest.raises(InvalidInputError, match=r"detach|requires grad"):
        column[6] = values[0].float().requires_grad_().to(values.dtype)
