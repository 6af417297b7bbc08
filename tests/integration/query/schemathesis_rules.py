"""What OpenAPI cannot say: how parameters depend on each other.

Changes only requests that the service must accept, so that they keep these rules. Otherwise the check
`positive_data_acceptance` would report their refusal. Requests that the service must refuse stay as they are.
"""

import schemathesis
from schemathesis.generation import GenerationMode


@schemathesis.hook
def before_call(context, case, kwargs):
    query = case.query
    if not query or case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # It comes from an earlier response to the same query.
    query.pop("after", None)
    # Only one of these may be given.
    for name in [name for name in ("bbox", "near", "ids") if name in query][1:]:
        del query[name]
    if "near" in query:
        query.setdefault("radius_m", 1000)
    else:
        query.pop("radius_m", None)
    if "bbox" in query:
        west, south, east, north = query["bbox"].split(",")
        south, north = sorted([south, north], key=float)
        query["bbox"] = ",".join([west, south, east, north])
    # `from` must be before `to`, and not by too much.
    if "from" in query:
        query["to"] = query["from"]
        query.pop("from")
