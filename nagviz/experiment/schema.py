"""The JSON Schema of a config, by which editors complete and check its keys as they are typed."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from nagviz.experiment.tables.runs import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """The schema of a run on data, on functions, or on both, in draft 2020-12.

    It knows keys, types and bounds. What keys promise one another, such as that `every` divides `steps`, `nagviz run`
    alone can tell.

    Example:
        >>> sorted(config_schema()["$defs"]["Training"]["properties"])
        ['batch_size', 'target']
    """
    return {"$schema": DIALECT, "title": "a run of nagviz", **TypeAdapter(Config).json_schema()}
