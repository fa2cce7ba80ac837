//! What sinks may do to objects of the cluster: an account of their own, whose token Kubernetes writes
//! into the Secret of the pods that export.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Stage, StepError};
use document::Document;

use super::cluster::{Role, RoleBinding, RoleRef, RoleRule, Subject, TokenSecret};
use super::outside::Outside;
use super::{access, metadata, text};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Returns what the sinks of a document do to objects of the cluster, a rule for each resource.
fn rules(document: &Document) -> Vec<RoleRule> {
    let mut verbs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (resource, verb) in
        document.exports.values().flat_map(|sink| sink.extension().permissions())
    {
        verbs.entry(resource).or_default().insert(verb);
    }
    let rule = |(resource, verbs): (&str, BTreeSet<&str>)| RoleRule {
        api_groups: vec![String::new()],
        resources: vec![resource.to_owned()],
        verbs: verbs.into_iter().map(str::to_owned).collect(),
    };
    verbs.into_iter().map(rule).collect()
}

/// Makes the account, its token, its role and the binding of both; nothing without such a sink.
pub(super) fn account(document: &Document) -> Result<Vec<String>, StepError> {
    let rules = rules(document);
    let Some(outside) = Outside::of(Stage::Export).filter(|_| !rules.is_empty()) else {
        return Ok(Vec::new());
    };
    let name = outside.secret(&document.name);
    let metadata = || metadata(&name, Some(document));
    let mut token = TokenSecret {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        metadata: metadata(),
        secret_type: "kubernetes.io/service-account-token".to_owned(),
    };
    let of = ("kubernetes.io/service-account.name".to_owned(), name.clone());
    token.metadata.annotations.extend([of]);
    let api_version = format!("{RBAC}/v1");
    let role = Role {
        api_version: api_version.clone(),
        kind: "ClusterRole".to_owned(),
        metadata: metadata(),
        rules,
    };
    let binding = RoleBinding {
        api_version,
        kind: "ClusterRoleBinding".to_owned(),
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: RBAC.to_owned(),
            kind: "ClusterRole".to_owned(),
            name: name.clone(),
        },
        subjects: vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            // Of each overlay: kustomize sets it, as everywhere.
            namespace: Some("lynceus".to_owned()),
        }],
    };
    let account = access::account(&name, Some(document));
    Ok(vec![text(&account)?, text(&token)?, text(&role)?, text(&binding)?])
}
