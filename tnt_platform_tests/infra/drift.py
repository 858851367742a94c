"""What a second plan may show on the stand-in: exactly what it is known to forget, and why. None of it in AWS."""

from __future__ import annotations

import json
from typing import Any

# (resource type, attribute): (what the stand-in gives back instead of what it was given, why). Nothing else may change.
FORGOTTEN: dict[tuple[str, str], tuple[object, str]] = {
    ("aws_appautoscaling_target", "tags_all"): ({}, "taught to answer, but it keeps no tags"),
    ("aws_budgets_budget", "tags_all"): ({}, "taught to answer, but it keeps no tags"),
    ("aws_db_instance", "performance_insights_enabled"): (False, "not stored"),
    ("aws_db_instance", "performance_insights_kms_key_id"): ("", "not stored"),
    ("aws_db_parameter_group", "parameter"): ([], "listed with another source, so the provider skips them"),
    ("aws_ecs_service", "availability_zone_rebalancing"): (
        "",
        "not stored; DISABLED is the provider's default",
    ),
    ("aws_ecs_service", "enable_ecs_managed_tags"): (False, "not stored"),
    ("aws_ecs_service", "health_check_grace_period_seconds"): (0, "not stored"),
    ("aws_s3_bucket_notification", "eventbridge"): (False, "kept, but not given back"),
    ("aws_vpc_security_group_egress_rule", "description"): (None, "not stored for a rule between groups"),
    ("aws_vpc_security_group_ingress_rule", "description"): (None, "not stored for a rule between groups"),
}
# Given back with other white space: the same when read as JSON.
RESPELLED = {("aws_sqs_queue", "redrive_policy")}


def unexplained_changes(plan: dict[str, Any]) -> list[str]:
    """Changes that the lists above don't explain, as `address attribute: before -> after`."""
    found = []
    for change in plan.get("resource_changes", []):
        actions = change["change"]["actions"]
        if actions in (["no-op"], ["read"]):
            continue
        if actions != ["update"]:
            found.append(f"{change['address']} {'/'.join(actions)}")
            continue
        before, after = change["change"]["before"], change["change"]["after"]
        found += [
            f"{change['address']} {name}: {before.get(name)!r} -> {after.get(name)!r}"
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
            and not _explained((change["type"], name), before.get(name), after.get(name))
        ]
    return found


def _explained(what: tuple[str, str], before: Any, after: Any) -> bool:
    if what in RESPELLED:
        return bool(json.loads(before) == json.loads(after))
    return what in FORGOTTEN and bool(before == FORGOTTEN[what][0])
