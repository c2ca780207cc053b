"""Compiled loops run where nothing can be written, and where files are damaged."""

import importlib.util

import numpy as np
import pytest
from numba.core import caching

SOURCE = """
from sklearn_rnla._kernels.compiling import njit

@njit(nogil=True)
def double(x):
    return 2 * x
"""


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "loops.py"
    path.write_text(SOURCE)
    return path


def test_loops_are_compiled_where_there_is_no_place_for_files(source, monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert loaded(source)(3) == 6
    assert not list(source.parent.rglob("*.nb?"))


def test_the_log_says_what_is_compiled_and_where_it_is_kept(source, monkeypatch, caplog):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    caplog.set_level("INFO", "sklearn_rnla")
    # Numba reads its environment anew only when it compiles.
    for _ in range(2):
        loaded(source)(3)
    assert "Compiling double" in caplog.messages[-1]
    said = len(caplog.messages)
    loaded(source)(3)
    assert len(caplog.messages) == said
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    loaded(source)(3)
    assert "double is compiled in each process" in caplog.messages[-1]


@pytest.mark.parametrize("damaged", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "other", "cut"])
def test_damaged_files_are_made_again(source, damaged, content, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    np.testing.assert_array_equal(loaded(source)(np.arange(3)), [0, 2, 4])
    files = list(source.parent.rglob(damaged))
    assert files
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    np.testing.assert_array_equal(loaded(source)(np.arange(3)), [0, 2, 4])
    again = loaded(source)
    np.testing.assert_array_equal(again(np.arange(3)), [0, 2, 4])
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_full_disk_does_not_end_a_fit(source, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert loaded(source)(3) == 6
