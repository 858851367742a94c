"""Mistakes in a dataset's files, each spoiling `dataset_files` at one place; § marks where it must be found."""

from __future__ import annotations

# Each: what is spoilt, its replacement, and the names and values that the message must hold.
YAML_FAULTS = {
    "an unclosed bracket": (
        "tags: {domain: logistics}",
        "tags: {domain: logistics\n  §start_date2: x",
        "not YAML",
    ),
    "a tab as indentation": (
        "  tags: {domain: logistics}",
        "\t§tags: {domain: logistics}",
        "spaces, not tabs",
    ),
    "a colon in a plain text": ("Promised days against", "§Promised: days against", "in quotes"),
    "a key given twice": (
        "  identity: [shipper_id",
        "  §start_date: '2021-01-01'\n  identity: [shipper_id",
        "line 8",
    ),
    "a key given twice, deep inside": (
        "origin: Origin",
        "origin: Origin\n        §origin: From",
        "origin occurs twice",
    ),
    "a key that YAML reads as a boolean": (
        "tags: {domain: logistics}",
        "tags: {no: logistics} §",
        "is read as bool",
    ),
}
SCHEMA_FAULTS = {
    "an unknown key beside type": ("type: tnt", "§atributes: {}\ntype: tnt", "did you mean attributes?"),
    "an unknown key": ("passes_when: equal", "§pases_when: equal", "did you mean passes_when?"),
    "an unknown key, deep inside": (
        "    on_overwrite: latest",
        "    §on_overwritten: latest",
        "mean on_overwrite?",
    ),
    "an unknown key of a list item": ("separator:", "§seperator:", "layouts[0].seperator", "mean separator?"),
    "an unknown key of a flow mapping": ("maximum: 60}", "maximun: 60} §", "mean maximum?"),
    "an unknown key like no other": (
        "interval_s: 30",
        "interval_s: 30\n    §zzz: 1",
        "unknown key sensor.zzz",
        "delete it",
    ),
    "a missing key": (
        "  identity: [shipper_id, origin]\n",
        "",
        "the key identity is missing",
        "add `identity: ...`",
    ),
    "a missing key, deep inside": (
        "  source:\n    prefix: rates/\n",
        "  §source:\n",
        "prefix of source is missing",
    ),
    "a missing key of a list item": (
        '- files: "*.csv"\n      columns:',
        "§- columns:",
        "files of layouts[1] is missing",
    ),
    "a key without value": (
        "concurrency: 8",
        "§concurrency:",
        "rate_api.concurrency has no value",
        "whole number",
    ),
    "a text for a number": (
        "interval_s: 30",
        "§interval_s: often",
        "sensor.interval_s is 'often'",
        "whole number",
    ),
    "a number below the least": (
        "concurrency: 8",
        "§concurrency: 0",
        "rate_api.concurrency is 0",
        "1 or more",
    ),
    "a text for a boolean, in a list": (
        "- name: state\n      required: true",
        "- name: state\n      §required: maybe",
        "columns[1].required is 'maybe'",
        "true or false",
    ),
    "a number for a text": ("prefix: rates/", "§prefix: 7", "source.prefix is 7", "in quotes"),
    "a boolean for a text in a list": (
        'values: ["1", "2"]',
        "values:\n        - '1'\n        §- no",
        "values[1] is False",
        "in quotes",
    ),
    "a text for a list": (
        "identity: [shipper_id, origin]",
        "§identity: shipper_id",
        "is 'shipper_id'",
        "a list",
    ),
    "a list for a mapping": (
        '  sensor:\n    interval_s: 30\n    sweep_cron: "0 3 * * *"\n',
        "  sensor: §[30]\n",
        "sensor is [30]",
        "keys with values",
    ),
    "a place of a column that is neither": ("weight: 3", "§weight: 3.5", "weight is 3.5"),
    "a word that is not among the choices": (
        "passes_when: equal",
        "§passes_when: equals",
        "equal, not_late",
        "mean equal?",
    ),
    "a column type that does not exist": (
        "type: number",
        "§type: numeric",
        "is 'numeric'",
        "integer, number",
        "did you mean",
    ),
    "an impossible date": ('"2020-01-01"', '"2026-02-31" §', "start_date", "2026-02-31", "YYYY-MM-DD"),
    "a date in another notation": ('"2020-01-01"', '"31/12/2020" §', "start_date", "31/12/2020"),
    "a broken pattern of keys": (
        "(?P<shipper_id>[a-z0-9]+)",
        "(?P<shipper_id>[a-z0-9+)§",
        "position",
        "not a regular expression",
    ),
    "a broken pattern of a note": ("'See \\d+'", "'See (\\d+' §", "notes[0].matches", "position 4"),
    "a cron schedule of four fields": ('"0 3 * * *"', '"0 3 * *" §', "not a cron schedule", "five fields"),
    "a cron schedule that never comes": ('"0 3 * * *"', '"0 3 30 2 *" §', "not a cron schedule"),
    "a type that is a list": (
        "type: tnt_platform.components.TransitDataset",
        "type: §[tnt]",
        "unknown type ['tnt']",
    ),
    "an unknown type": (
        "components.TransitDataset",
        "components.TransitDatset §",
        "did you mean tnt_platform.components.TransitDataset?",
    ),
}
SOURCE_FAULTS = {
    "a prefix that leaves the bucket": ("prefix: rates/", "§prefix: ../rates/", "prefix"),
    "a pattern that repeats the prefix": ("key_pattern: '", "§key_pattern: 'rates/", "key_pattern", "rates/"),
    "a flag that can't follow the prefix": (
        "key_pattern: '",
        "§key_pattern: '(?i)",
        "key_pattern",
        "(?i:...)",
    ),
    "a group with a name of the platform": (
        "(?P<shipper_id>[a-z0-9]+)",
        "(?P<shipper_id>[a-z0-9]+)(?P<etag>x)?§",
        "key_pattern",
        "etag",
    ),
    "a group with the name of a later column": (
        "(?:txt|csv)",
        "(?P<status>txt|csv)§",
        "key_pattern",
        "status",
    ),
    "a group that is also a column": ("(?:txt|csv)", "(?P<service>txt|csv)§", "key_pattern", "service"),
    "a date format without a day": ("on_overwrite: latest", '§date_format: "%Y-%m"', "date_format", "%Y-%m"),
}
LAYOUT_FAULTS = {
    "a separator with a line end": ('separator: "|"', '§separator: "|\\n"', "layouts[0].separator"),
    "an escape that is the separator": ("quote: null", "quote: null\n      §escape: '|'", "'|'"),
    "a header row without a header": ("quote: null", "quote: null\n      §header_row: 3", "header_row"),
    "an optional column that is not placed": (
        "quote: null",
        "quote: null\n      optional:\n        - §zome",
        "zome",
    ),
    "a separator that is no character": ('separator: "|"', '§separator: ""', "layouts[0].separator"),
    "a quote of two characters": ("quote: null", "§quote: \"''\"", "layouts[0].quote"),
    "a separator that is the quote": ("quote: null", "quote: '|' §", "'|'"),
    "an unknown encoding": ("encoding: utf-8", "§encoding: utf-9", "'utf-9'", "did you mean utf-8?"),
    "files without header nor width": ("      max_columns: 6\n", "", "max_columns"),
    "a place past the last column": ("service: 5", "§service: 6", "position 6", "max_columns 6"),
    "a place before the first column": ("service: 5", "§service: -1", "position -1"),
    "a name where there is no header": ("service: 5", "§service: Service", "'Service'"),
    "two columns at one place": ("service: 5", "§service: 4", "service", "sent", "4"),
    "two columns of one header": ("service: Service", "§service: ' sent'", "service", "sent"),
    "a header name that YAML reads as a boolean": ("weight: Weight", "§weight: yes", "read as true", '"yes"'),
    "a header name that is the reader's own": ("weight: Weight", "§weight: raw", "'raw'"),
    "a column that is not declared": (
        "state: State",
        "state: State\n        §expected_transit: X",
        "expected_transit,",
        "mean expected_transit_days?",
    ),
    "a required column left out": (
        "      columns:\n        origin: 0\n",
        "      §columns:\n",
        "layouts[0]",
        "origin",
    ),
    "a glob with a folder": ('files: "*.csv"', '§files: "in/*.csv"', "write *.csv"),
    "a glob with the suffix of a compression": ('files: "*.csv"', '§files: "*.csv.gz"', "write *.csv"),
    "a layout hidden by an earlier one": ('files: "*.csv"', '§files: "NY*.TXT"', "NY*.TXT", "*.txt"),
    "the same glob twice": ('files: "*.csv"', '§files: "*.txt"', "*.txt"),
}
COLUMN_FAULTS = {
    "a column declared twice": (
        "- name: state\n",
        "- {name: origin, type: postal_code, required: true} §\n    - name: state\n",
        "origin",
    ),
    "a column name with capitals": (
        "columns:\n    - {name: origin,",
        "columns:\n    - {name: Zone Code} §\n    - {name: origin,",
        "write zone_code",
    ),
    "a column with a name of the reader's": (
        "columns:\n    - {name: origin,",
        "columns:\n    - {name: raw} §\n    - {name: origin,",
        "'raw'",
        "file_raw",
    ),
    "a column that a later step replaces": (
        "columns:\n    - {name: origin,",
        "columns:\n    - {name: status} §\n    - {name: origin,",
        "status",
        "file_status",
    ),
    "a column that the rate API's step replaces": (
        "columns:\n    - {name: origin,",
        "columns:\n    - {name: ship_date} §\n    - {name: origin,",
        "ship_date",
        "file_ship_date",
    ),
    "a note's column that is taken": (
        "columns:\n    - {name: origin,",
        "columns:\n    - {name: weight_note}\n    - {name: origin,",
        "weight_note",
    ),
    "an option that means nothing for the type": (
        "minimum: 0",
        "minimum: 0\n      §formats: ['%Y-%m-%d']",
        "formats",
        "type number",
        "type date",
    ),
    "a pattern that polars does not take": ('pattern: "[A-Z]{2}"', "§pattern: '(?=N)Y'", "look-around"),
    "a broken pattern of a column": (
        'pattern: "[A-Z]{2}"',
        '§pattern: "NY|[A-Z"',
        "unclosed character class at position 3",
    ),
    "a note that says nothing": (
        "{matches: 'See \\d+', code: see_other}",
        "{code: see_other} §",
        "'see_other'",
        "`equals`",
        "`matches`",
    ),
    "a date format without a year": ('["%Y-%m-%d"]', '["%d-%m"] §', "formats[0]", "'%d-%m'"),
    "a minimum above the maximum": ("minimum: 0", "§minimum: 5\n      maximum: 2", "minimum 5", "maximum 2"),
    "a category without values": (
        'type: category\n      values: ["1", "2"]',
        "type: category §",
        "service",
        "values: [",
    ),
    "a thousands mark of two characters": ("minimum: 0", "§thousands: ',,'", "thousands"),
    "a decimal mark that is none": ("minimum: 0", "§decimal: ';'", "decimal is ';'"),
    "the column that is compared left optional": (
        "expected_transit_days, type: days, required: true",
        "expected_transit_days, type: days, required: false",
        "expected_transit_days",
        "required: true",
    ),
    "the column that is compared as text": (
        "type: days, required: true, maximum: 60}",
        "type: text, required: true} §",
        "expected_transit_days",
        "type: days",
    ),
    "an identity that the key does not give": (
        "(?P<shipper_id>[a-z0-9]+)",
        "(?P<shipper>[a-z0-9]+)",
        "shipper_id",
    ),
    "an identity of unknown columns": (
        "[shipper_id, origin]",
        "[shipper_id, orign] §",
        "identity: orign",
        "mean origin?",
    ),
    "the date as identity": ("[shipper_id, origin]", "[shipper_id, date] §", "identity: date"),
    "an empty identity": ("[shipper_id, origin]", "[] §", "identity is []"),
    "a summary by an unknown column": (
        "summary_by: [state]",
        "summary_by:\n    - state\n    §- stat",
        "summary_by: stat",
        "mean state?",
    ),
    "a summary twice by a column": (
        "summary_by: [state]",
        "summary_by: [state, state] §",
        "summary_by: state",
    ),
}
API_FAULTS = {
    "a secret as plain text": ('"${RATES_TOKEN}"', '"abc" §', "auth-token", "${AUTH_TOKEN}"),
    "a secret as a default": ('"${RATES_TOKEN}"', '"${RATES_TOKEN:-abc}" §', "auth-token"),
    "a credential in the URL": ('"${RATES_URL}"', '"https://me:word@api.example.com" §', "rate_api.url"),
    "a credential as a parameter": (
        '"${RATES_URL}"',
        '"https://api.example.com?api_key=abc" §',
        "rate_api.url",
    ),
    "an address that is no URL": (
        '"${RATES_URL}"',
        '"api.example.com" §',
        "rate_api.url",
        "'api.example.com'",
    ),
    "a misspelt variable": ('"${RATES_URL}"', '"${RATES-URL}" §', "${NAME}"),
    "a variable where none is resolved": (
        "prefix: rates/",
        '§prefix: "${PLACE}/rates/"',
        "'${PLACE}/rates/'",
    ),
    "a template of Dagster": (
        "X-Client: platform",
        "X-Client: '{{ env.CLIENT }}' §",
        "looks like a template",
    ),
    "an expression that can't be read": ("| [0].days}", "| [0.days} §", "rate_api.answer", "'.days}'"),
    "an expression that ends too early": ("| [0].days}", "| [0].days §", "rate_api.answer"),
    "an unknown function": ("days: rates[?lower(", "days: rates[?lowr( §", "lowr()", "mean lower?"),
    "an expression without days": ("       days: rates", "       §dais: rates", "dais", "mean days?"),
    "a template file that is not there": (
        "concurrency: 8",
        "§request: requst.json",
        "requst.json",
        "mean request.json?",
    ),
    "a template file elsewhere": (
        "concurrency: 8",
        "§request: ../request.json",
        "rate_api.request",
        "../request.json",
    ),
    "a reference among the dataset's files": (
        "reference: config/dest.csv",
        "§reference: rates/dest.csv",
        "rates/dest.csv",
    ),
}
IN_REQUEST = {
    "broken JSON": ('"method": "POST",', '"method": "POST"§', "not JSON"),
    "an unknown part": ('"method": "POST"', '"metod": "POST" §', "metod", "did you mean method?"),
    "an unknown method": ('"method": "POST"', '"method": "FETCH" §', "method is 'FETCH'"),
    "a double key": ('"ship_date"', '"state": "{state}", §\n    "ship_date"', "state"),
    "a stray brace": ('"state": "{state}"', '"state": "{state" §', "body.state", "'{'"),
    "a variable outside the headers": (
        '"state": "{state}"',
        '"state": "${RATES_STATE}" §',
        "body.state",
        "${RATES_STATE}",
    ),
    "a field in a header": ('"application/json"', '"{state}" §', "headers.Accept"),
    "a field as a name": ('"note":', '"{origin}": §', "'{origin}'"),
    "a secret": ('"${RATES_KEY:-}"', '"abc" §', "X-Api-Key"),
}

COMPUTE_FAULTS = {
    "memory that Fargate lacks for the cpu": (
        "  sensor:\n",
        "  §compute: {cpu: 1024, memory_mb: 1000}\n  sensor:\n",
        "Fargate has no memory_mb 1000 with cpu 1024",
        "2048 to 8192 in steps of 1024",
    ),
    "a cpu that Fargate lacks": (
        "  sensor:\n",
        "  §compute: {cpu: 1000, memory_mb: 2048}\n  sensor:\n",
        "Fargate has no cpu 1000",
        "256, 512, 1024, 2048, 4096, 8192, 16384",
    ),
    "cpu without memory": (
        "  sensor:\n",
        "  §compute: {cpu: 1024, spot: true}\n  sensor:\n",
        "cpu without memory_mb",
        "both or neither",
    ),
    "an unknown key of compute": (
        "  sensor:\n",
        "  compute: {memory: 2048} §\n  sensor:\n",
        "unknown key compute.memory",
        "cpu, memory_mb, spot",
    ),
}

IN_YAML = (
    YAML_FAULTS | SCHEMA_FAULTS | SOURCE_FAULTS | LAYOUT_FAULTS | COLUMN_FAULTS | API_FAULTS | COMPUTE_FAULTS
)
# A fault whose place is where something is absent is found at what should hold it.
PARENT_LINES = {
    "a missing key": "attributes:",
    "files without header nor width": '    - files: "*.txt"',
    "a note's column that is taken": "      notes:",
    "the column that is compared left optional": "    - {name: expected_transit_days",
}
# Where one mistake is two faults, both must be found.
SEVERAL = {"an identity that the key does not give": 2}
