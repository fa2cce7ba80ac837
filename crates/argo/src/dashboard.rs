//! A Grafana dashboard of a pipeline: overview, its entities and signals, its models.
//!
//! It queries only the series that `score` writes, and the document's own queries.

use contract::StepError;
use document::Document;
use serde_json::{Value, json};

/// Columns of Grafana's grid, and the height of a panel.
const WIDTH: usize = 24;
const HEIGHT: usize = 7;
/// Longest identifier that Grafana takes.
const LONGEST_UID: usize = 40;

/// Returns the text of a pipeline's dashboard.
pub fn write(document: &Document) -> Result<String, StepError> {
    let name = &document.name;
    let mut uid = format!("lynceus-{name}");
    uid.truncate(LONGEST_UID);
    let by_entity = document.columns().iter().any(|column| column.entity.is_some());
    let mut variables = vec![json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
    })];
    if by_entity {
        variables.push(json!({
            "name": "entity", "label": "Entity", "type": "query", "refresh": 2, "sort": 1,
            "includeAll": true, "allValue": ".*", "datasource": datasource(),
            "query": format!("label_values(lynceus_no_data{{pipeline=\"{name}\"}}, entity)"),
        }));
    }
    let dashboard = json!({
        "uid": uid,
        "title": format!("Lynceus: {name}"),
        "description": document.description,
        "tags": ["lynceus"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "panels": panels(document, by_entity),
    });
    let mut text = serde_json::to_string_pretty(&dashboard)
        .map_err(|e| StepError::bug(format!("cannot write a dashboard: {e}")))?;
    text.push('\n');
    Ok(text)
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn panels(document: &Document, by_entity: bool) -> Vec<Value> {
    let of = format!("{{pipeline=\"{}\"}}", document.name);
    let chosen = if by_entity {
        format!("{{pipeline=\"{}\", entity=~\"$entity\"}}", document.name)
    } else {
        of.clone()
    };
    let mut grid = Grid::default();
    grid.row("Overview");
    grid.stat("Anomalous now", &format!("sum(lynceus_anomaly{of})"), "short");
    grid.stat("Without data now", &format!("sum(lynceus_no_data{of})"), "short");
    grid.stat("Lag of scoring", &format!("max(lynceus_score_lag_seconds{of})"), "s");
    grid.stat("Windows scored", &format!("max(lynceus_windows_scored_total{of})"), "short");
    grid.graph("Anomalous entities", &format!("sum(lynceus_anomaly{of})"), "anomalous", "short");
    grid.graph(
        "Highest score by model",
        &format!("max by (model) (lynceus_anomaly_score{of})"),
        "{{model}}",
        "percentunit",
    );
    grid.row("Entities and their signals");
    let entity = if by_entity { "{{entity}} " } else { "" };
    grid.graph(
        "Score by model",
        &format!("lynceus_anomaly_score{chosen}"),
        &format!("{entity}{{{{model}}}}"),
        "percentunit",
    );
    grid.graph(
        "Anomalous (1) or not",
        &format!("lynceus_anomaly{chosen}"),
        if by_entity { "{{entity}}" } else { "anomalous" },
        "short",
    );
    for column in document.columns().iter().filter(|column| column.is_promql) {
        let legend = match &column.entity {
            Some(label) => format!("{{{{{label}}}}}"),
            None => column.name.clone(),
        };
        grid.graph(&column.name, &column.formula, &legend, unit(&column.unit));
    }
    grid.row("Models");
    grid.graph("Version", &format!("lynceus_model_info{of}"), "{{version}}", "short");
    grid.graph(
        "Drift of features (population stability index of the last day)",
        &format!("last_over_time(lynceus_feature_drift{of}[2h])"),
        "{{feature}}",
        "short",
    );
    grid.panels
}

/// Returns Grafana's name of a unit.
fn unit(unit: &str) -> &'static str {
    match unit {
        "seconds" => "s",
        "bytes" => "bytes",
        "bytes_per_second" => "Bps",
        "per_second" => "cps",
        "ratio" | "seconds_per_second" => "percentunit",
        _ => "short",
    }
}

/// A panel with one query.
struct Panel<'a> {
    kind: &'a str,
    title: &'a str,
    /// An expression in `PromQL`.
    expression: &'a str,
    legend: &'a str,
    /// Grafana's name of the unit.
    unit: &'a str,
    /// Columns of the grid.
    width: usize,
}

/// Panels, laid out from left to right and from top to bottom.
#[derive(Default)]
struct Grid {
    panels: Vec<Value>,
    x: usize,
    y: usize,
    /// Height of the line that is being filled.
    height: usize,
}

impl Grid {
    fn row(&mut self, title: &str) {
        self.end_line();
        let place = json!({"x": 0, "y": self.y, "w": WIDTH, "h": 1});
        let id = self.panels.len() + 1;
        self.panels.push(json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [],
        }));
        self.y += 1;
    }

    fn stat(&mut self, title: &str, expression: &str, unit: &str) {
        let width = WIDTH / 4;
        self.panel(&Panel { kind: "stat", title, expression, legend: "", unit, width });
    }

    fn graph(&mut self, title: &str, expression: &str, legend: &str, unit: &str) {
        self.panel(&Panel {
            kind: "timeseries",
            title,
            expression,
            legend,
            unit,
            width: WIDTH / 2,
        });
    }

    fn panel(&mut self, panel: &Panel<'_>) {
        let Panel { kind, title, expression, legend, unit, width } = *panel;
        if self.x + width > WIDTH {
            self.end_line();
        }
        let height = if kind == "stat" { HEIGHT / 2 } else { HEIGHT };
        let id = self.panels.len() + 1;
        self.panels.push(json!({
            "id": id,
            "type": kind,
            "title": title,
            "datasource": datasource(),
            "gridPos": {"x": self.x, "y": self.y, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
            "targets": [{
                "refId": "A", "datasource": datasource(), "expr": expression, "legendFormat": legend,
            }],
        }));
        self.x += width;
        self.height = self.height.max(height);
    }

    fn end_line(&mut self) {
        self.y += self.height;
        (self.x, self.height) = (0, 0);
    }
}
