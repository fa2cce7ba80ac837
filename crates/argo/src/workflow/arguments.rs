//! Arguments of templates: texts, files and folders.

use serde::{Deserialize, Serialize};

use crate::cluster::Others;

/// Arguments of a template, a task or a workflow.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Arguments {
    /// Texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// Files and folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

/// A text by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The text; in a template's inputs the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Description for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// In a template's outputs: the file with the text.
    #[serde(default, rename = "valueFrom", skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// In a template's outputs: its name among the outputs of the workflow, which the exit handler
    /// reads.
    #[serde(default, rename = "globalName", skip_serializing_if = "Option::is_none")]
    pub global_name: Option<String>,
}

/// A file that a template writes; its text becomes an output parameter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueFrom {
    /// Its path in the pod.
    pub path: String,
}

/// A file or folder by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// The name: the port's.
    pub name: String,
    /// Its path in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The output from which it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether it may be absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Its place in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Key>,
    /// How it is packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// The other fields.
    #[serde(flatten)]
    pub others: Others,
}

impl Artifact {
    /// Fields with a place besides the store and the outputs of tasks.
    const PLACES: [&str; 10] = [
        "artifactory",
        "azure",
        "fromExpression",
        "gcs",
        "git",
        "hdfs",
        "http",
        "oss",
        "plugin",
        "raw",
    ];

    /// Returns whether it is taken from elsewhere than the output of a task.
    pub fn has_place(&self) -> bool {
        self.s3.is_some() || Self::PLACES.iter().any(|field| self.others.contains_key(*field))
    }
}

/// A key of the artifact repository's bucket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Key {
    /// The key; a folder's ends with `/`.
    pub key: String,
}

/// How an artifact is packed. Only no packing is used, so that public tools can open every object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Archive {
    /// Not at all.
    pub none: NoArchive,
}

/// Stored as it is; it has no settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NoArchive {}
