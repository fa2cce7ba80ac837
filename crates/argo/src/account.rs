//! Permissions of sinks for objects of the cluster: a separate account, whose token Kubernetes
//! writes into the Secret of the pods that export.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Stage, StepError};
use document::Document;
use k8s_openapi::api::rbac::v1::PolicyRule;

use super::access::{self, Granted};
use super::outside::Outside;

/// Returns the permissions that the sinks of a document need, one rule for each resource.
fn rules(document: &Document) -> Vec<PolicyRule> {
    let mut verbs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (resource, verb) in
        document.exports.values().flat_map(|sink| sink.extension().permissions())
    {
        verbs.entry(resource).or_default().insert(verb);
    }
    let rule = |(resource, verbs): (&str, BTreeSet<&str>)| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.into_iter().map(str::to_owned).collect(),
        ..PolicyRule::default()
    };
    verbs.into_iter().map(rule).collect()
}

/// Makes the account, its token, its role and its binding; empty without such a sink. The role and
/// the binding are in no namespace, so their names contain the namespace: another installation in
/// the same cluster has others.
pub(super) fn account(document: &Document, namespace: &str) -> Result<Vec<String>, StepError> {
    let rules = rules(document);
    let Some(outside) = Outside::of(Stage::Export).filter(|_| !rules.is_empty()) else {
        return Ok(Vec::new());
    };
    let name = outside.secret(&document.name);
    access::granted(Granted {
        name: &name,
        role_name: &format!("lynceus.{namespace}.{}.{}", document.name, outside.name),
        token: &name,
        document: Some(document),
        // kustomize sets the namespace of each overlay, as for all other objects.
        namespace: Some(namespace),
        rules,
    })
}
