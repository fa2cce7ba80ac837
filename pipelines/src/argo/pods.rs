//! What the sink `kubernetes` may do: an account of its own, whose token Kubernetes writes into the
//! Secret of the pods that export.

use contract::{Stage, StepError};
use document::Document;
use document::sinks::Sink;

use super::cluster::{Role, RoleBinding, RoleRef, RoleRule, Subject, TokenSecret};
use super::outside::Outside;
use super::{access, metadata, text};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Returns what the sinks of a document do to pods: nothing without such a sink.
fn rules(document: &Document) -> Vec<RoleRule> {
    let sinks = document.exports.values().filter_map(|sink| match sink {
        Sink::Kubernetes(sink) => Some(&sink.own),
        Sink::RemoteWrite(_) | Sink::Postgres(_) | Sink::Textfile(_) => None,
    });
    let (mut events, mut annotations) = (false, false);
    for sink in sinks {
        events |= sink.events;
        annotations |= sink.annotations;
    }
    let rule = |resource: &str, verbs: Vec<&str>| RoleRule {
        api_groups: vec![String::new()],
        resources: vec![resource.to_owned()],
        verbs: verbs.into_iter().map(str::to_owned).collect(),
    };
    let of_pods = [("get", events), ("patch", annotations)];
    let of_pods: Vec<&str> =
        of_pods.into_iter().filter_map(|(verb, is)| is.then_some(verb)).collect();
    let pods = (!of_pods.is_empty()).then(|| rule("pods", of_pods));
    let events = events.then(|| rule("events", vec!["create"]));
    pods.into_iter().chain(events).collect()
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
