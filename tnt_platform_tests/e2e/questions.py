"""The GraphQL that the tests ask, in the words of the web UI."""

READY = """
query {
  workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""

RUNS = """
query ($filter: RunsFilter) {
  runsOrError(filter: $filter, limit: 500) { ... on Runs { results {
    runId status creationTime startTime endTime tags { key value } } } }
}"""

FAILURE = """
query ($run: ID!) {
  runOrError(runId: $run) { ... on Run { eventConnection { events {
    __typename ... on ExecutionStepFailureEvent { error { message } } } } } }
}"""

TICKS = """
query ($sensor: SensorSelector!, $after: Float!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { id status
    ticks(limit: 100, afterTimestamp: $after) {
      timestamp endTimestamp status skipReason runIds runKeys error { message } } } } }
}"""

SENSOR_STATE = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { defaultStatus sensorState { id status } } }
}"""

STOP_SENSOR = """
mutation ($id: String!) {
  stopSensor(id: $id) { ... on StopSensorMutationResult { instigationState { status } } }
}"""

LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } }
}"""

RETRY_BACKFILL = """
mutation ($params: ReexecutionParams!) {
  reexecutePartitionBackfill(reexecutionParams: $params) { __typename
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } }
}"""

BACKFILL = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
    id status numPartitions error { message }
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      assetKey { path } numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } }
}"""

PARTITIONS = """
query ($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numMaterializing }
    assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } } } }
}"""

LAUNCH_RUN = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } }
}"""
