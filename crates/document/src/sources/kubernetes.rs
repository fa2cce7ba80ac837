//! The settings of the source `kubernetes`.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{Source, SourceKind};
use crate::http::{Http, HttpSettings};
use crate::problem::{Problem, require};

/// The pods of a cluster, from its API: image size, image or label, start; or its nodes with their
/// labels. What it says of a pod or node holds from its start on; it makes no windows, and is
/// joined to those of the other sources.
///
/// Its `url` is that of the API server or of `kubectl proxy`. Without `url` and `kubeconfig` it
/// uses the cluster in which it runs, with the token of its service account, which needs the verb
/// `list` on `pods` and `nodes`. A token in a file is read for each request, because such tokens
/// are rotated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSource {
    /// A kubeconfig file, relative to the document, instead of `url`, `auth` and `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default its current context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// What is listed. Nodes have the columns of `entity.texts` alone, which are made of their
    /// labels: `texts: {role: node-role}`.
    #[serde(skip_serializing_if = "KubernetesObjects::is_pods")]
    pub objects: KubernetesObjects,
    /// Namespaces; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Label selector of the pods, in the form of `kubectl --selector`: `app=web,tier!=cache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Label of the row, which is the declared class for `task: classify`.
    pub label: PodLabel,
    /// The columns.
    pub columns: Vec<PodColumn>,
    /// Pods or nodes per reply, 1 to 10000.
    pub page_size: u32,
}

impl Default for KubernetesSource {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            objects: KubernetesObjects::Pods,
            namespaces: Vec::new(),
            selector: None,
            label: PodLabel::Image,
            columns: vec![PodColumn::ImageSizeBytes],
            page_size: 500,
        }
    }
}

/// What is listed of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KubernetesObjects {
    /// Pods: the entity is `namespace/name`.
    #[default]
    Pods,
    /// Nodes: the entity is the name.
    Nodes,
}

impl KubernetesObjects {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_pods(&self) -> bool {
        *self == Self::Pods
    }
}

/// Label of a pod's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodLabel {
    /// Image of its main container: the one that the annotation
    /// `kubectl.kubernetes.io/default-container`
    /// names, or the first.
    Image,
    /// Name of the workload that owns the pod, such as the Deployment.
    Owner,
    /// Value of one of its labels, such as `app.kubernetes.io/name`.
    PodLabel(String),
}

/// A column of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodColumn {
    /// Size of the main container's image in bytes, as its node reports it; missing if the node's
    /// list does not have the image. Some container runtimes report the compressed size, others the
    /// uncompressed size.
    ImageSizeBytes,
    /// Number of its containers.
    Containers,
    /// Number of restarts of its containers so far.
    Restarts,
}

impl PodColumn {
    /// Returns the column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageSizeBytes => "image_size_bytes",
            Self::Containers => "containers",
            Self::Restarts => "restarts",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::ImageSizeBytes => "bytes",
            Self::Containers | Self::Restarts => "",
        }
    }
}

impl KubernetesSource {
    /// URL of the API server from inside of a cluster, which is the default.
    pub const IN_CLUSTER: &'static str = "https://kubernetes.default.svc";

    /// Where a pod finds the token and the certificates of its service account.
    pub const SERVICE_ACCOUNT: &'static str = "/var/run/secrets/kubernetes.io/serviceaccount";
}

impl HttpSettings for KubernetesSource {
    const NAME: &'static str = "kubernetes";
    const URL: Option<&'static str> = Some(Self::IN_CLUSTER);
    const TIMEOUT: Span = Span::from_seconds(30);
    const RETRIES: u8 = 5;

    fn check(&self) -> Result<(), Problem> {
        require(self.context.is_none() || self.kubeconfig.is_some(), "context", || {
            "works only with `kubeconfig`".to_owned()
        })?;
        let size = self.page_size;
        require((1..=10_000).contains(&size), "page_size", || {
            format!("`{size}` is not between 1 and 10000")
        })?;
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let is_name = !namespace.is_empty()
                && namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            require(is_name, &format!("namespaces.{index}"), || {
                format!("`{namespace}` is not the name of a namespace")
            })?;
        }
        if self.objects == KubernetesObjects::Nodes {
            let of_pods = Self { kubeconfig: None, context: None, page_size: 0, ..self.clone() };
            let default = Self { objects: self.objects, page_size: 0, ..Self::default() };
            require(of_pods == default, "objects", || {
                "nodes have none of `namespaces`, `selector`, `label` and `columns`".to_owned()
            })?;
        }
        require(!self.columns.is_empty(), "columns", || "is empty".to_owned())?;
        for (index, column) in self.columns.iter().enumerate() {
            require(!self.columns[..index].contains(column), &format!("columns.{index}"), || {
                format!("`{}` is listed twice", column.name())
            })?;
        }
        Ok(())
    }

    fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        self.kubeconfig.iter_mut().collect()
    }
}

impl SourceKind for Http<KubernetesSource> {
    fn takes_texts(&self) -> bool {
        true
    }

    fn set_label(&mut self, label: &str) -> bool {
        self.own.label = PodLabel::PodLabel(label.to_owned());
        true
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        if self.own.objects == KubernetesObjects::Nodes {
            return Vec::new();
        }
        let of = |column: &PodColumn| SampleColumn {
            name: column.name().to_owned(),
            unit: column.unit().to_owned(),
            formula: format!("kubernetes pod {}", column.name()),
            is_promql: false,
            is_asked: true,
            is_required: false,
            values: ColumnValues::Numbers,
            entity: Some("namespace/pod".to_owned()),
        };
        self.own.columns.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_together_are_refused_by_name() {
        for (text, expected) in [
            (r#"{"context": "c"}"#, "context"),
            (r#"{"page_size": 0}"#, "page_size"),
            (r#"{"namespaces": ["a/b"]}"#, "namespaces.0"),
            (r#"{"columns": []}"#, "columns"),
            (r#"{"columns": ["restarts", "restarts"]}"#, "columns.1"),
            (r#"{"objects": "nodes", "namespaces": ["shop"]}"#, "objects"),
            (r#"{"objects": "nodes", "label": "owner"}"#, "objects"),
        ] {
            let source: Http<KubernetesSource> = serde_json::from_str(text).unwrap();
            let problem = source.own.check().unwrap_err();
            assert_eq!(problem.path.join("."), expected, "{text}");
        }
        let source: Http<KubernetesSource> =
            serde_json::from_str(r#"{"label": {"pod_label": "app"}}"#).unwrap();
        source.own.check().unwrap();
        assert_eq!(source.server.url.host(), "kubernetes.default.svc");
        let nodes: Http<KubernetesSource> =
            serde_json::from_str(r#"{"objects": "nodes", "page_size": 10}"#).unwrap();
        nodes.own.check().unwrap();
    }
}
