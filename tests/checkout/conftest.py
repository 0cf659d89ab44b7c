from __future__ import annotations

import numpy as np
import pytest

from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter


@pytest.fixture
def column(writer: WriterCheckout) -> FlatSampleWriter:
    return writer.add_ndarray_column("x", (40,), np.uint8)
