"""Packages of the extra `dask`, imported when they are first used."""

from __future__ import annotations

from functools import partial

from densegrad.extras import imported as imported_for

imported = partial(imported_for, extra="dask")
