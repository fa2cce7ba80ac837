//! The replay page: rows of a labelled table, sent one after another, and scored live by the
//! running endpoint.
//!
//! The rows are sent as server-sent events. The page itself posts each row to the endpoint, so its
//! counts and times are those of a client. A lost connection resumes after the last row that
//! arrived.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use contract::StepError;
use frames::FeatureTable;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::ServeArgs;
use crate::protocol::ProtocolError;

/// The page, without external resources.
const PAGE: &str = include_str!("replay.html");
/// Fastest replay.
const MOST_PER_SECOND: f64 = 200.0;

/// A labelled table to replay.
#[derive(Debug)]
pub struct Replay {
    pipeline: String,
    normal: Vec<String>,
    rate_per_second: f64,
    table: FeatureTable,
    /// Rows in order of time.
    order: Vec<usize>,
}

/// A row in the form for the page.
#[derive(Debug, Serialize)]
struct Row<'a> {
    number: usize,
    total: usize,
    time: String,
    time_ms: i64,
    entity: &'a str,
    label: &'a str,
    is_anomalous: bool,
    values: Vec<Option<f64>>,
}

impl Replay {
    /// Reads the tables of the flags, the rows of several in order of time; `None` if none is given.
    ///
    /// Errors: those of reading them, and refused (3) for a table without labels, for tables with
    /// different features, and where there are no rows.
    pub fn read(args: &ServeArgs) -> Result<Option<Arc<Self>>, StepError> {
        let paths = &args.options.replay;
        let tables =
            paths.iter().map(|path| FeatureTable::read(path)).collect::<Result<Vec<_>, _>>()?;
        let (table, shown) = match paths.as_slice() {
            [] => return Ok(None),
            [first, ..] => (FeatureTable::joined(tables)?, first.display()),
        };
        if table.labels.is_none() || table.rows() == 0 {
            return Err(StepError::refused(format!("`{shown}` has no labelled rows to replay"))
                .hint("use the table `validation.parquet` of a data set with labels"));
        }
        let mut order: Vec<usize> = (0..table.rows()).collect();
        order.sort_by_key(|row| table.table.times[*row]);
        Ok(Some(Arc::new(Self {
            pipeline: args.pipeline.clone(),
            normal: args.options.normal.iter().map(|label| label.to_lowercase()).collect(),
            rate_per_second: args.options.rate,
            table,
            order,
        })))
    }

    /// Returns the routes of the page.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/replay", get(page))
            .route("/replay/about", get(about))
            .route("/replay/events", get(events))
            .route("/replay/next", get(next_anomalous))
            .with_state(self)
    }

    fn label(&self, row: usize) -> &str {
        self.table.labels.as_ref().map_or("", |labels| labels.label[row].as_str())
    }

    fn is_anomalous(&self, row: usize) -> bool {
        let label = self.label(row);
        !label.is_empty() && !self.normal.contains(&label.to_lowercase())
    }

    fn row(&self, number: usize) -> Option<Row<'_>> {
        let row = *self.order.get(number)?;
        let values = self.table.table.columns.iter().map(|column| column.values[row]);
        let time = self.table.table.times[row];
        Some(Row {
            number,
            total: self.order.len(),
            time: time.to_string(),
            time_ms: time.ms(),
            entity: self.table.table.entity_of(row),
            label: self.label(row),
            is_anomalous: self.is_anomalous(row),
            values: values.map(|value| value.is_finite().then_some(value)).collect(),
        })
    }

    fn event(&self, number: usize) -> Option<Event> {
        let row = self.row(number)?;
        // A row of numbers and texts can always be serialized as JSON.
        Event::default().event("row").id(number.to_string()).json_data(row).ok()
    }
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

async fn about(State(replay): State<Arc<Replay>>) -> Response {
    let contract = &replay.table.contract;
    let features: Vec<_> = contract
        .columns
        .iter()
        .map(|column| json!({"name": column.name, "unit": column.unit}))
        .collect();
    Json(json!({
        "pipeline": replay.pipeline,
        "rows": replay.order.len(),
        "rate_per_second": replay.rate_per_second,
        "features": features,
    }))
    .into_response()
}

/// The start, the speed and the number of rows of a replay.
#[derive(Debug, Deserialize)]
struct Range {
    #[serde(default)]
    from: usize,
    rate: Option<f64>,
    count: Option<usize>,
}

async fn events(
    State(replay): State<Arc<Replay>>,
    Query(range): Query<Range>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ProtocolError> {
    let rate = range.rate.unwrap_or(replay.rate_per_second);
    if !(rate > 0.0 && rate <= MOST_PER_SECOND) {
        return Err(ProtocolError::bad_request(format!(
            "`rate` must be above 0 and at most {MOST_PER_SECOND} rows per second"
        )));
    }
    // A browser that reconnects sends the number of its last row.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<usize>().ok());
    let from = last.map_or(range.from, |last| last + 1);
    let end = range.count.map_or(replay.order.len(), |count| from.saturating_add(count));
    let distance = Duration::from_secs_f64(1.0 / rate);
    let rows = stream::unfold((replay, from), move |(replay, number)| async move {
        if number >= end {
            return None;
        }
        if number > from {
            tokio::time::sleep(distance).await;
        }
        let event = replay.event(number)?;
        Some((Ok(event), (replay, number + 1)))
    });
    // The browser would reconnect after the last row: the event `end` makes the page close the
    // connection.
    let ended = stream::once(async { Ok(Event::default().event("end").data("end")) });
    let all = futures_util::StreamExt::chain(rows, ended);
    Ok(Sse::new(all).keep_alive(KeepAlive::default()))
}

async fn next_anomalous(State(replay): State<Arc<Replay>>, Query(range): Query<Range>) -> Response {
    let next = (range.from..replay.order.len()).find(|number| {
        let row = replay.order[*number];
        let is_first = *number == 0 || !replay.is_anomalous(replay.order[*number - 1]);
        replay.is_anomalous(row) && (is_first || *number == range.from)
    });
    match next {
        Some(number) => {
            ([(header::CACHE_CONTROL, "no-store")], Json(json!({"number": number}))).into_response()
        }
        None => {
            ProtocolError::new(StatusCode::NOT_FOUND, "no anomalous row follows").into_response()
        }
    }
}
