//! Checks values that the API server or Argo would reject: quantities, durations, addresses,
//! labels.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Report;
use crate::cluster::{Labels, selected};
use crate::workflow::WorkflowSpec;

/// The units of Go's durations.
const DURATIONS: [&str; 6] = ["ns", "us", "ms", "s", "m", "h"];

/// Longest value and longest name of a label that Kubernetes accepts, in characters.
const LABEL_CHARACTERS: usize = 63;

/// Checks that quantities are valid, and that no request exceeds its limit.
pub(super) fn resources(owner: &str, resources: &ResourceRequirements, report: &mut Report<'_>) {
    let (requests, limits) = (resources.requests.iter(), resources.limits.iter());
    for (_, text) in requests.chain(limits).flatten() {
        if let Some(problem) = wrong_quantity(&text.0) {
            report.say("value", format!("`{owner}`: {problem}"));
        }
    }
    for (what, Quantity(request)) in resources.requests.iter().flatten() {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(what));
        let Some(Quantity(limit)) = limit else { continue };
        let both = quantity(request).zip(quantity(limit));
        if both.is_some_and(|(request, limit)| request > limit) {
            let message =
                format!("`{owner}` requests {request} of {what}, but its limit is {limit}");
            report.say("resources", message);
        }
    }
}

/// Returns the error of an invalid quantity.
pub(super) fn wrong_quantity(text: &str) -> Option<String> {
    quantity(text)
        .is_none()
        .then(|| format!("`{text}` is not a quantity, such as 250m, 2, 256Mi or 1Gi"))
}

/// Returns the value of a Kubernetes quantity.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        _ => binary(suffix).or_else(|| exponent(suffix))?,
    };
    let number: f64 = number.parse().ok()?;
    Some(number * factor)
}

fn binary(suffix: &str) -> Option<f64> {
    let power = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|other| *other == suffix)?;
    Some(1024_f64.powi(i32::try_from(power).ok()? + 1))
}

fn exponent(suffix: &str) -> Option<f64> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some(10_f64.powi(power))
}

/// Returns whether Argo reads a text as a length of time: seconds, or numbers with Go's units.
pub(super) fn is_duration(text: &str) -> bool {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) =
            rest.split_at(rest.find(|c: char| !is_number(c)).unwrap_or(rest.len()));
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        if number.parse::<f64>().is_err() || !DURATIONS.contains(&unit) {
            return text.parse::<u32>().is_ok();
        }
        rest = behind;
    }
    !text.is_empty()
}

/// Checks that addresses and labels of a policy are valid.
pub(super) fn policy(policy: &NetworkPolicySpec, report: &mut Report<'_>) {
    let mut selectors = Vec::from_iter(&policy.pod_selector);
    let rules = policy.egress.iter().flatten();
    for peer in rules.flat_map(|rule| rule.to.iter().flatten()) {
        selectors.extend(peer.pod_selector.iter().chain(&peer.namespace_selector));
        if let Some(block) = peer.ip_block.as_ref().filter(|block| !is_cidr(&block.cidr)) {
            let message = format!("`{}` is not a range of addresses, as in 10.0.0.0/8", block.cidr);
            report.say("value", message);
        }
    }
    for message in selectors.into_iter().flat_map(|selector| wrong_labels(selected(Some(selector))))
    {
        report.say("value", message);
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.parse().is_ok_and(|prefix: u8| prefix <= longest)
}

/// Checks that labels of pods are valid.
pub(super) fn pods(spec: &WorkflowSpec, report: &mut Report<'_>) {
    let own = spec.templates.iter().filter_map(|template| template.metadata.as_ref());
    for metadata in spec.pod_metadata.iter().chain(own) {
        for message in wrong_labels(&metadata.labels) {
            report.say("value", message);
        }
    }
}

/// Returns the errors of invalid labels.
pub(super) fn wrong_labels(labels: &Labels) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in labels {
        let (prefix, end) = name.rsplit_once('/').unwrap_or(("a", name.as_str()));
        if prefix.is_empty() || end.is_empty() || !is_label(end) {
            wrong.push(format!(
                "`{name}` is not the name of a label: letters, digits, `-`, `_`, `.`"
            ));
        }
        // The values that Argo inserts are unknown here.
        if !value.contains("{{") && !is_label(value) {
            wrong.push(format!(
                "`{value}` is not a value for the label `{name}`: at most {LABEL_CHARACTERS} letters, \
                 digits, `-`, `_`, `.`"
            ));
        }
    }
    wrong
}

fn is_label(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| outer(c) || ['-', '_', '.'].contains(&c);
    let has_ends = text.starts_with(outer) && text.ends_with(outer);
    text.is_empty() || (has_ends && text.len() <= LABEL_CHARACTERS && text.chars().all(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("2", 2.0),
            ("0.5", 0.5),
            ("250m", 0.25),
            ("1k", 1000.0),
            ("1Ki", 1024.0),
            ("1.5Gi", 1_610_612_736.0),
            ("1e3", 1000.0),
            ("1E", 1e18),
        ] {
            let read = quantity(text).unwrap();
            assert!((read - value).abs() <= value * 1e-12, "{text}: {read}");
        }
        for text in ["", "Mi", "256MB", "50mm", "8GB", "1 Gi", "1gi", "1.2.3", "1e", "-1"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_gos() {
        for text in ["10", "10s", "1h30m", "1.5h", "100ms"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "10 secs", "10secs", "1d", "s", "1h30", "-5s", "ten"] {
            assert!(!is_duration(text), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_at_most_as_long_as_an_address() {
        for text in ["10.0.0.1/32", "0.0.0.0/0", "2001:db8::/128"] {
            assert!(is_cidr(text), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.1/33", "2001:db8::/129", "10.0.0/8", "10.0.0.1/", "a/8"] {
            assert!(!is_cidr(text), "{text}");
        }
    }

    #[test]
    fn labels_are_short_and_begin_and_end_with_a_letter_or_digit() {
        for text in ["", "a", "A-b_c.9"] {
            assert!(is_label(text), "{text}");
        }
        for text in ["-a", "a.", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(!is_label(text), "{text}");
        }
    }
}
