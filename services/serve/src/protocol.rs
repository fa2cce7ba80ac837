//! The JSON of the Open Inference Protocol, version 2.
//!
//! Source: `kserve/open-inference-protocol`, `specification/protocol/inference_rest.md`, and Triton's
//! extension for binary tensor data.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::tensor::Flat;

/// Header with the length of the JSON part of a body with binary tensors.
pub const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

/// A request.
#[derive(Debug, Clone, Deserialize)]
pub struct InferRequest {
    /// Returned in the reply.
    #[serde(default)]
    pub id: Option<String>,
    /// `binary_data_output`, `feature_contract`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The tensors.
    pub inputs: Vec<InputTensor>,
    /// The requested outputs; absent for all outputs.
    #[serde(default)]
    pub outputs: Option<Vec<RequestedOutput>>,
}

/// A tensor of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct InputTensor {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// Its data type.
    pub datatype: String,
    /// `binary_data_size`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Its elements, flat or nested in row-major order; absent for binary data.
    #[serde(default)]
    pub data: Option<Flat>,
}

/// A requested output.
#[derive(Debug, Clone, Deserialize)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// `binary_data`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// A reply.
#[derive(Debug, Clone, Serialize)]
pub struct InferResponse {
    /// Name of the model.
    pub model_name: String,
    /// Version that answered.
    pub model_version: String,
    /// The id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tensors.
    pub outputs: Vec<OutputTensor>,
}

/// A tensor of a reply.
#[derive(Debug, Clone, Serialize)]
pub struct OutputTensor {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// Its data type.
    pub datatype: &'static str,
    /// `binary_data_size`, for binary data.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Its elements; absent for binary data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Name, type and shape of a tensor, in a model's metadata.
#[derive(Debug, Clone, Serialize)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// Its data type.
    pub datatype: &'static str,
    /// Its sizes; -1 for any.
    pub shape: Vec<i64>,
}

/// An error in the format of the protocol: a status and `{"error": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub message: String,
}

impl ProtocolError {
    /// Makes the error for an invalid request.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    /// Makes an error with any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl IntoResponse for ProtocolError {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({"error": self.message}));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = axum::http::HeaderValue::from_static("1");
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds);
        }
        response
    }
}
