//! How far a workload is rolled out, and why a pod does not start. Pure.

use serde_json::Value;

use crate::{
    dereference::ClusterState,
    resource::{CONFIG_HASH_ANNOTATION, HASH_ANNOTATION, Kind, Resource},
};

/// Reasons for which a container waits until somebody intervenes.
const WAITING_REASONS: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// The end of a failed pod's log is cut to this many characters.
const MAX_LOG: usize = 300;

/// What a StatefulSet or Deployment still lacks. `None` once all of its pods are updated and ready.
pub fn progress(cluster: &ClusterState, workload: &Resource) -> Option<String> {
    let live = cluster.get(workload.kind, &workload.name);
    let Some(live) = live else { return Some(format!("{} does not exist yet", workload.name)) };
    let count = |field: &str| live["status"][field].as_i64().unwrap_or(0);
    let desired = live["spec"]["replicas"].as_i64().unwrap_or(1);
    let observed = count("observedGeneration") >= live["metadata"]["generation"].as_i64().unwrap_or(1);
    let ready = if workload.kind == Kind::Deployment { count("availableReplicas") } else { count("readyReplicas") };
    let updated = count("updatedReplicas").min(ready);
    if observed && count("replicas") == desired && updated == desired {
        return None;
    }
    let component = workload.object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or_default();
    let failure = failure(cluster, component, live).map(|failure| format!(": {failure}")).unwrap_or_default();
    Some(format!("{} has {updated} of {desired} pods ready{failure}", workload.name))
}

/// Why the pods of a component do not start, or cannot be created.
pub fn failure(cluster: &ClusterState, component: &str, live: &Value) -> Option<String> {
    cluster.pods_of(component).find_map(pod_failure).or_else(|| creation_failure(cluster, live))
}

/// Why the pods of a Deployment, StatefulSet or Job cannot be created: a quota, a webhook or a policy says so.
pub fn creation_failure(cluster: &ClusterState, workload: &Value) -> Option<String> {
    // A Deployment repeats what its ReplicaSet says. The others have no condition for it.
    let mut conditions = workload["status"]["conditions"].as_array().into_iter().flatten();
    let condition = conditions.find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
    let event = || {
        let of_workload = |event: &&Value| event["regarding"]["uid"] == workload["metadata"]["uid"];
        cluster.creation_failures.iter().rev().find(of_workload).map(|event| &event["note"])
    };
    let message = condition.map(|condition| &condition["message"]).or_else(event)?;
    message.as_str().map(str::to_owned)
}

/// What keeps the pods of a Job from running.
pub fn job_failure(cluster: &ClusterState, job: &Value) -> Option<String> {
    let of_job = |pod: &&Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job["metadata"]["name"];
    let pod = cluster.pods.iter().filter(of_job).find_map(pod_failure);
    pod.or_else(|| creation_failure(cluster, job))
}

/// Whether an object was applied as it is now desired.
pub fn is_current(cluster: &ClusterState, resource: &Resource) -> bool {
    let live = cluster.get(resource.kind, &resource.name);
    live.is_some_and(|live| live["metadata"]["annotations"][HASH_ANNOTATION] == resource.hash())
}

/// Whether every pod of a StatefulSet has started with the desired configuration. It may have failed since.
pub fn is_rolled(set: &Resource, live: &Value) -> bool {
    let config = |set: &Value| set["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION].clone();
    config(live) == config(&set.object) && is_complete(live)
}

/// Whether every pod of a StatefulSet has started with the configuration it has now. It may have failed since.
pub fn is_complete(live: &Value) -> bool {
    let status = &live["status"];
    let observed = status["observedGeneration"].as_i64() >= live["metadata"]["generation"].as_i64();
    // The current revision becomes the updated one once all of its pods were ready.
    let complete = status["currentRevision"] == status["updateRevision"];
    let updated = status["updatedReplicas"].as_i64().unwrap_or(0) >= live["spec"]["replicas"].as_i64().unwrap_or(1);
    observed && complete && updated
}

/// Whether a StatefulSet has pods, and all of them are ready with the configuration it has now.
pub fn is_serving(live: &Value) -> bool {
    let ready = live["status"]["readyReplicas"].as_i64().unwrap_or(0);
    ready > 0 && ready >= live["spec"]["replicas"].as_i64().unwrap_or(1) && is_complete(live)
}

/// Why a pod does not start, if its status says so.
pub fn pod_failure(pod: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let waiting = statuses
        .iter()
        .flat_map(|field| pod["status"][*field].as_array().into_iter().flatten())
        .map(|container| &container["state"]["waiting"])
        .find(|waiting| waiting["reason"].as_str().is_some_and(|reason| WAITING_REASONS.contains(&reason)));
    if let Some(waiting) = waiting {
        let message = waiting["message"].as_str().unwrap_or_default();
        return Some(format!("{} {message}", waiting["reason"].as_str().unwrap_or_default()).trim().to_owned());
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions.into_iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False")?;
    Some(format!("cannot be scheduled: {}", unscheduled["message"].as_str().unwrap_or_default()))
}

/// The end of the log of a failed pod of a Job.
pub fn failure_log(pod: &Value, job: &str) -> Option<String> {
    if pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] != job {
        return None;
    }
    let mut containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let message = containers.find_map(|container| container["state"]["terminated"]["message"].as_str())?;
    let words: Vec<&str> = message.split_whitespace().collect();
    let log = words.join(" ");
    let start = log.char_indices().rev().nth(MAX_LOG - 1).map_or(0, |(at, _)| at);
    (!log.is_empty()).then(|| log[start..].to_owned())
}

/// Whether a pod belongs to an older revision of its StatefulSet and does not start.
pub fn is_stuck(set: &Value, pod: &Value) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let of_set = owners.into_iter().any(|owner| owner["uid"] == set["metadata"]["uid"]);
    let observed = set["status"]["observedGeneration"].as_i64() >= set["metadata"]["generation"].as_i64();
    let revision = &set["status"]["updateRevision"];
    let outdated = revision.is_string() && pod["metadata"]["labels"]["controller-revision-hash"] != *revision;
    let leaving = pod["metadata"].get("deletionTimestamp").is_some();
    of_set && observed && outdated && !leaving && pod_failure(pod).is_some()
}
