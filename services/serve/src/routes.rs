//! The paths of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower_http::decompression::RequestDecompressionLayer;

use crate::args::ServeArgs;
use crate::judge::Judge;
use crate::live::Served;
use crate::predict::Output;
use crate::protocol::{
    InferRequest, InferResponse, JSON_LENGTH_HEADER, OutputTensor, ProtocolError,
};
use crate::tensor;

/// Shared state of the handlers.
#[derive(Debug, Clone)]
pub struct App {
    pipeline: Arc<str>,
    judge: Judge,
    max_body: usize,
    request_log: bool,
    is_draining: Arc<AtomicBool>,
}

impl App {
    /// Makes the shared state.
    pub fn new(args: &ServeArgs, judge: Judge) -> Self {
        Self {
            pipeline: args.pipeline.as_str().into(),
            judge,
            max_body: args.options.max_body_mib as usize * 1024 * 1024,
            request_log: args.options.request_log,
            is_draining: Arc::default(),
        }
    }

    /// Makes the server report that it is not ready, so that it gets no new traffic.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Returns the routes of both protocols.
    pub fn router(self) -> Router {
        let model = "/v2/models/{model}";
        let versioned = "/v2/models/{model}/versions/{version}";
        let mut router = Router::new()
            .route("/v2/health/live", get(live))
            .route("/v2/health/ready", get(ready))
            .route("/v2", get(server))
            .route("/v2/", get(server))
            .route("/metrics", get(metrics))
            .route("/v1/models/{model}", get(model_v1).post(predict_v1));
        for base in [model, versioned] {
            router = router
                .route(base, get(metadata))
                .route(&format!("{base}/ready"), get(model_ready))
                .route(&format!("{base}/infer"), post(infer));
        }
        let max_body = self.max_body;
        router
            .fallback(unknown)
            .method_not_allowed_fallback(wrong_method)
            .layer(DefaultBodyLimit::max(max_body))
            .layer(RequestDecompressionLayer::new())
            .with_state(self)
    }

    /// Returns the version in a path.
    fn served(&self, named: &Named) -> Result<Arc<Served>, ProtocolError> {
        let missing = |message: String| ProtocolError::new(StatusCode::NOT_FOUND, message);
        if named.model != *self.pipeline {
            return Err(missing(format!(
                "no model `{}`: this server has `{}`",
                named.model, self.pipeline
            )));
        }
        let served = self.judge.live.current().ok_or_else(|| {
            ProtocolError::new(StatusCode::SERVICE_UNAVAILABLE, "no version is live yet")
        })?;
        match &named.version {
            Some(version) if *version != served.version => {
                Err(missing(format!("version `{version}` is not live: `{}` is", served.version)))
            }
            _ => Ok(served),
        }
    }

    /// Waits for an answer, counts it, and writes it into the request log: its path and duration,
    /// never its content.
    async fn timed(
        &self,
        named: &Named,
        bytes: usize,
        answer: impl Future<Output = Answer>,
    ) -> Response {
        let started = Instant::now();
        let response = answer.await.unwrap_or_else(axum::response::IntoResponse::into_response);
        let (status, took) = (response.status().as_u16(), started.elapsed());
        self.judge.metrics.answered(status, took);
        if self.request_log {
            let version = named.version.as_deref().unwrap_or_default();
            let seconds = took.as_secs_f64();
            tracing::info!(model = named.model, version, bytes, status, seconds, "Answered");
        }
        response
    }
}

/// Model and version of a path.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    version: Option<String>,
}

type Answer = Result<Response, ProtocolError>;
type Body = Result<Bytes, BytesRejection>;

async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

async fn ready(State(app): State<App>) -> Response {
    let is_ready = app.judge.live.current().is_some() && !app.is_draining.load(Ordering::Relaxed);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": is_ready}))).into_response()
}

async fn server() -> Json<Value> {
    Json(json!({
        "name": "lynceus",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

async fn metrics(State(app): State<App>) -> Response {
    let served = app.judge.live.current();
    let text = app.judge.metrics.text(served.as_ref().map(|served| served.version.as_str()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn metadata(State(app): State<App>, headers: HeaderMap, Path(named): Path<Named>) -> Answer {
    app.judge.limits.authorise(&headers)?;
    let served = app.served(&named)?;
    Ok(Json(json!({
        "name": named.model,
        "versions": [served.version],
        "platform": "lynceus_bundle",
        "inputs": served.inputs(),
        "outputs": served.outputs(),
        "parameters": {
            "feature_contract": served.contract_sha256,
            "features": served.manifest.contract.names(),
        },
    }))
    .into_response())
}

async fn model_ready(
    State(app): State<App>,
    headers: HeaderMap,
    Path(named): Path<Named>,
) -> Answer {
    app.judge.limits.authorise(&headers)?;
    app.served(&named)?;
    Ok(Json(json!({"name": named.model, "ready": true})).into_response())
}

async fn infer(
    State(app): State<App>,
    headers: HeaderMap,
    Path(named): Path<Named>,
    body: Body,
) -> Response {
    let bytes = body.as_ref().map_or(0, Bytes::len);
    app.timed(&named, bytes, inferred(&app, &headers, &named, body)).await
}

async fn inferred(app: &App, headers: &HeaderMap, named: &Named, body: Body) -> Answer {
    app.judge.limits.authorise(headers)?;
    let served = app.served(named)?;
    let body = body.map_err(|error| ProtocolError::new(error.status(), error.body_text()))?;
    let (text, binary) = split_body(headers, &body)?;
    let request: InferRequest = serde_json::from_slice(text).map_err(|error| {
        ProtocolError::bad_request(format!("the request is not valid: {error}"))
    })?;
    let rows = served.rows(&request, binary)?;
    let scores = app.judge.judge(&served, rows).await?;
    reply(&request, &named.model, &served, &served.describe(&scores))
}

/// Splits a body into its JSON and its binary tensors; without the header the whole body is JSON,
/// independent of its content type.
fn split_body<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), ProtocolError> {
    let Some(length) = headers.get(JSON_LENGTH_HEADER) else { return Ok((body, &[])) };
    let length = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
    let parts = length.filter(|length| *length > 0).and_then(|it| body.split_at_checked(it));
    parts.ok_or_else(|| {
        ProtocolError::bad_request(format!(
            "the header `{JSON_LENGTH_HEADER}` is not the length of the body's JSON part"
        ))
    })
}

fn reply(request: &InferRequest, model: &str, served: &Served, outputs: &[Output]) -> Answer {
    let wanted = |output: &Output| match &request.outputs {
        None => Some(request.parameters.get("binary_data_output")),
        Some(asked) => asked
            .iter()
            .find(|asked| asked.name == output.name)
            .map(|asked| asked.parameters.get("binary_data")),
    };
    if let Some(asked) = request
        .outputs
        .iter()
        .flatten()
        .find(|asked| !outputs.iter().any(|output| output.name == asked.name))
    {
        return Err(ProtocolError::bad_request(format!("no output `{}`", asked.name)));
    }
    let mut binary = Vec::new();
    let mut tensors = Vec::new();
    for output in outputs {
        let Some(flag) = wanted(output) else { continue };
        let is_binary = flag.and_then(Value::as_bool).unwrap_or(false);
        let mut tensor = OutputTensor {
            name: output.name.clone(),
            shape: vec![output.data.len() as u64],
            datatype: output.datatype,
            parameters: Map::new(),
            data: None,
        };
        if is_binary {
            let bytes = tensor::to_binary(output.datatype, &output.data);
            tensor.parameters.insert("binary_data_size".to_owned(), bytes.len().into());
            binary.extend(bytes);
        } else {
            tensor.data = Some(tensor::to_json(output.datatype, &output.data));
        }
        tensors.push(tensor);
    }
    let has_binary = tensors.iter().any(|tensor| tensor.data.is_none());
    let response = InferResponse {
        model_name: model.to_owned(),
        model_version: served.version.clone(),
        id: request.id.clone(),
        outputs: tensors,
    };
    if !has_binary {
        return Ok(Json(response).into_response());
    }
    let mut body = serde_json::to_vec(&response).map_err(|error| {
        ProtocolError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    let length = HeaderValue::from(body.len());
    body.extend(binary);
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(JSON_LENGTH_HEADER, length);
    Ok(response)
}

/// A request of version 1: rows of features in contract order.
#[derive(Debug, Deserialize)]
struct PredictRequest {
    instances: Vec<Vec<Option<f64>>>,
}

async fn predict_v1(
    State(app): State<App>,
    headers: HeaderMap,
    Path(named): Path<Named>,
    body: Body,
) -> Response {
    let bytes = body.as_ref().map_or(0, Bytes::len);
    app.timed(&named, bytes, predicted(&app, &headers, &named, body)).await
}

async fn predicted(app: &App, headers: &HeaderMap, named: &Named, body: Body) -> Answer {
    app.judge.limits.authorise(headers)?;
    let Some(model) = named.model.strip_suffix(":predict") else {
        return Err(ProtocolError::new(StatusCode::METHOD_NOT_ALLOWED, "use `:predict`"));
    };
    let served = app.served(&Named { model: model.to_owned(), version: None })?;
    let body = body.map_err(|error| ProtocolError::new(error.status(), error.body_text()))?;
    let request: PredictRequest = serde_json::from_slice(&body).map_err(|error| {
        ProtocolError::bad_request(format!("the request is not valid: {error}"))
    })?;
    let columns = served.manifest.contract.columns.len();
    if let Some(row) = request.instances.iter().position(|row| row.len() != columns) {
        let found = request.instances[row].len();
        return Err(ProtocolError::bad_request(format!(
            "instance {row} has {found} features, the model takes {columns}"
        )));
    }
    let values = request.instances.iter().flatten().map(|value| json!(value)).collect::<Vec<_>>();
    let request = InferRequest {
        id: None,
        parameters: Map::new(),
        inputs: vec![
            serde_json::from_value(json!({
                "name": crate::predict::FEATURES,
                "shape": [request.instances.len(), columns],
                "datatype": "FP64",
                "data": values,
            }))
            .map_err(|error| ProtocolError::bad_request(error.to_string()))?,
        ],
        outputs: None,
    };
    let rows = served.rows(&request, &[])?;
    let scores = app.judge.judge(&served, rows).await?;
    Ok(Json(json!({"predictions": scores})).into_response())
}

async fn model_v1(State(app): State<App>, headers: HeaderMap, Path(named): Path<Named>) -> Answer {
    app.judge.limits.authorise(&headers)?;
    app.served(&named)?;
    Ok(Json(json!({"name": named.model, "ready": true})).into_response())
}

async fn unknown(method: Method, uri: Uri) -> ProtocolError {
    ProtocolError::new(StatusCode::NOT_FOUND, format!("no path `{method} {}`", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ProtocolError {
    let message = format!("`{}` does not take `{method}`", uri.path());
    ProtocolError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
