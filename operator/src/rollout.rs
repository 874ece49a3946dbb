//! What a pod that does not come up says of itself.

use serde_json::Value;

/// Reasons for which a container waits that do not pass by themselves.
const TROUBLE: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];

/// At most so many characters of what a pod said last.
const LAST_WORDS: usize = 300;

/// Why a pod does not come up, if it says so.
pub(super) fn pod_trouble(pod: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let waiting = statuses
        .iter()
        .flat_map(|field| pod["status"][*field].as_array().into_iter().flatten())
        .map(|container| &container["state"]["waiting"])
        .find(|waiting| waiting["reason"].as_str().is_some_and(|reason| TROUBLE.contains(&reason)));
    if let Some(waiting) = waiting {
        let message = waiting["message"].as_str().unwrap_or_default();
        return Some(format!("{} {message}", waiting["reason"].as_str().unwrap_or_default()).trim().to_owned());
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions.into_iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False")?;
    Some(format!("it cannot be scheduled: {}", unscheduled["message"].as_str().unwrap_or_default()))
}

/// What a failed pod of a Job said before it ended.
pub(super) fn last_words(pod: &Value, job: &str) -> Option<String> {
    if pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] != job {
        return None;
    }
    let mut containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let message = containers.find_map(|container| container["state"]["terminated"]["message"].as_str())?;
    let words: Vec<&str> = message.split_whitespace().collect();
    let said = words.join(" ");
    let from = said.char_indices().rev().nth(LAST_WORDS - 1).map_or(0, |(at, _)| at);
    (!said.is_empty()).then(|| said[from..].to_owned())
}

/// Whether a pod belongs to an older revision than its StatefulSet's, and does not come up.
pub(super) fn is_stuck(set: &Value, pod: &Value) -> bool {
    let owned = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let of_set = owned.into_iter().any(|owner| owner["uid"] == set["metadata"]["uid"]);
    let seen = set["status"]["observedGeneration"].as_i64() >= set["metadata"]["generation"].as_i64();
    let wanted = &set["status"]["updateRevision"];
    let outdated = wanted.is_string() && pod["metadata"]["labels"]["controller-revision-hash"] != *wanted;
    let going = pod["metadata"].get("deletionTimestamp").is_some();
    of_set && seen && outdated && !going && pod_trouble(pod).is_some()
}
