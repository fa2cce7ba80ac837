//! Users and permissions of the pods, and the address of the store.

use contract::StepError;
use document::Document;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, SecretKeySelector, ServiceAccount};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::cluster::{ArtifactRepository, Labels, S3Repository};
use super::workflow::ArtifactRepositoryRef;
use super::{metadata, names, text};

/// The account of Argo's own containers.
pub(super) const EXECUTOR: &str = "lynceus-executor";
/// The `ConfigMap` with the store's address, which steps get as environment.
pub(super) const STORE: &str = "lynceus-store";
/// The `ConfigMap` with the artifact repository.
pub(super) const ARTIFACTS: &str = "lynceus-artifacts";
/// Its key.
const ARTIFACTS_KEY: &str = "repository";
/// The Secret with the store credentials of training.
pub(super) const TRAINER: &str = "lynceus-trainer";
/// The Secret with the store credentials of scoring.
pub(super) const SCORER: &str = "lynceus-scorer";

/// The Secret with the certificate of the store's private CA, as `ca.crt`; it is optional.
pub(super) const CA: &str = "lynceus-ca";

/// Returns a workflow's artifact repository. Every workflow sets it, also one without artifacts:
/// otherwise Argo uses the controller's default repository. If that repository archives logs, Argo
/// mounts its Secret into every pod; this namespace lacks that Secret, so the pods never start. A
/// workflow's own `archiveLogs: false` does not prevent this.
pub(super) fn artifacts() -> ArtifactRepositoryRef {
    ArtifactRepositoryRef { config_map: ARTIFACTS.to_owned(), key: ARTIFACTS_KEY.to_owned() }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// An account with permissions, whose token Kubernetes writes into a Secret.
pub(super) struct Granted<'a> {
    /// Name of the account.
    pub(super) name: &'a str,
    /// Name of the role and the binding.
    pub(super) role_name: &'a str,
    /// The Secret with the token.
    pub(super) token: &'a str,
    /// The pipeline that it belongs to; `None` if it belongs to the whole installation.
    pub(super) document: Option<&'a Document>,
    /// The namespace of the account if the permissions are for all namespaces: a binding of them
    /// must name it. `None` for permissions in the account's own namespace.
    pub(super) namespace: Option<&'a str>,
    pub(super) rules: Vec<PolicyRule>,
}

/// Makes an account, its token, its role and the binding of both.
pub(super) fn granted(granted: Granted<'_>) -> Result<Vec<String>, StepError> {
    let Granted { name, role_name, token, document, namespace, rules } = granted;
    let annotation = ("kubernetes.io/service-account.name".to_owned(), name.to_owned());
    let token = Secret {
        metadata: ObjectMeta {
            annotations: Some([annotation].into()),
            ..metadata(token, document)
        },
        type_: Some("kubernetes.io/service-account-token".to_owned()),
        ..Secret::default()
    };
    let (metadata, rules) = (metadata(role_name, document), Some(rules));
    let role_ref = |kind: &str| RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name: role_name.to_owned(),
    };
    let subjects = Some(vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        ..Subject::default()
    }]);
    let (role, binding) = if namespace.is_some() {
        let role_ref = role_ref("ClusterRole");
        let binding = ClusterRoleBinding { metadata: metadata.clone(), role_ref, subjects };
        (text(&ClusterRole { metadata, rules, ..ClusterRole::default() })?, text(&binding)?)
    } else {
        let role_ref = role_ref("Role");
        let binding = RoleBinding { metadata: metadata.clone(), role_ref, subjects };
        (text(&Role { metadata, rules })?, text(&binding)?)
    };
    Ok(vec![text(&account(name, document))?, text(&token)?, role, binding])
}

/// Makes the account of Argo's own containers, with the one permission that they need.
///
/// The pods' own containers get no token. So Argo expects the token of this account in a Secret of
/// this name, which Kubernetes fills.
pub(super) fn executor() -> Result<Vec<String>, StepError> {
    granted(Granted {
        name: EXECUTOR,
        role_name: EXECUTOR,
        token: &format!("{EXECUTOR}.service-account-token"),
        document: None,
        namespace: None,
        rules: vec![PolicyRule {
            api_groups: Some(vec!["argoproj.io".to_owned()]),
            resources: Some(vec!["workflowtaskresults".to_owned()]),
            verbs: vec!["create".to_owned(), "patch".to_owned()],
            ..PolicyRule::default()
        }],
    })
}

/// Makes the accounts of a pipeline's pods, which are only identities for a store that
/// authenticates pods.
pub(super) fn accounts(document: &Document) -> Result<Vec<String>, StepError> {
    let names = names(document);
    Ok(vec![
        text(&account(&names.train, Some(document)))?,
        text(&account(&names.score, Some(document)))?,
    ])
}

pub(super) fn account(name: &str, document: Option<&Document>) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(name, document),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Makes the two settings of the store: for steps as environment, for Argo as an artifact
/// repository. Overlays change them.
pub(super) fn store() -> Result<Vec<String>, StepError> {
    let secret = |key: &str| SecretKeySelector {
        name: TRAINER.to_owned(),
        key: key.to_owned(),
        optional: None,
    };
    let repository = ArtifactRepository {
        s3: S3Repository {
            endpoint: "minio:9000".to_owned(),
            insecure: true,
            bucket: "lynceus".to_owned(),
            region: "us-east-1".to_owned(),
            // Argo's logs. No pipeline can have runs here, because names of pipelines do not begin
            // with `_`.
            key_format: "runs/_logs/{{workflow.name}}/{{pod.name}}".to_owned(),
            access_key_secret: secret("AWS_ACCESS_KEY_ID"),
            secret_key_secret: secret("AWS_SECRET_ACCESS_KEY"),
            ca_secret: None,
        },
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let environment =
        [pair("AWS_ENDPOINT_URL", "http://minio:9000"), pair("AWS_REGION", "us-east-1")];
    let repository = [(ARTIFACTS_KEY.to_owned(), super::yaml::write(&repository)?)];
    Ok(vec![
        text(&config_map(STORE, environment.into()))?,
        text(&config_map(ARTIFACTS, repository.into()))?,
    ])
}

pub(super) fn config_map(name: &str, data: Labels) -> ConfigMap {
    ConfigMap { metadata: metadata(name, None), data: Some(data), ..ConfigMap::default() }
}
