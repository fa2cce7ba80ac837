//! Drawings of the page of classes, as separate SVG.

use contract::classify::{ClassManifest, CurvePoint, Importance, UNKNOWN};
use serde_json::Value;

use crate::units;

/// Width of every drawing, in its own units.
const WIDTH: f64 = 960.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, words: &str) {
    let words = escaped(words);
    svg.push_str(&format!(
        "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    ));
}

fn line(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    svg.push_str(&format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    ));
}

fn wrap(height: f64, words: &str, inside: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">{inside}</svg>",
        escaped(words)
    )
}

/// Draws the confusion matrix of left-out entities: true classes are rows, predicted classes are
/// columns.
pub(super) fn confusion(classify: &ClassManifest) -> String {
    let classes = &classify.classes;
    let names: Vec<&str> = classes.iter().map(String::as_str).chain([UNKNOWN]).collect();
    // On the right, the slanted name of the last column needs room.
    let (left, top, right) = (190.0, 130.0, 90.0);
    let cell = ((WIDTH - left - right) / names.len() as f64).min(90.0);
    let height = top + cell * classes.len() as f64 + 10.0;
    let mut svg = String::new();
    for (column, name) in names.iter().enumerate() {
        let x = left + cell * (column as f64 + 0.5);
        let (y, words) = (top - 12.0, escaped(name));
        svg.push_str(&format!(
            "<text class=\"ink\" transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{words}</text>"
        ));
    }
    for (row, class) in classes.iter().enumerate() {
        let y = top + cell * row as f64;
        text(&mut svg, [left - 12.0, y + cell / 2.0 + 8.0], "end", class);
        let called = classify.figures.confusion.get(class);
        let total: u64 = called.map_or(0, |called| called.values().sum());
        for (column, name) in names.iter().enumerate() {
            let count = called.and_then(|called| called.get(*name)).copied().unwrap_or(0);
            let share = count as f64 / total.max(1) as f64;
            let x = left + cell * column as f64;
            let colour = if *name == class { "s0" } else { "alarm" };
            let opacity = if count > 0 { 0.12 + 0.6 * share } else { 0.0 };
            svg.push_str(&format!("<rect class=\"{colour} fill\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{0:.1}\" height=\"{0:.1}\" opacity=\"{opacity:.2}\" stroke=\"none\"/>",
                cell - 2.0));
            if count > 0 {
                text(
                    &mut svg,
                    [x + cell / 2.0, y + cell / 2.0 + 8.0],
                    "middle",
                    &count.to_string(),
                );
            }
        }
    }
    wrap(height, "Confusion matrix: true class of entities against predicted class", &svg)
}

/// Draws balanced accuracy by the number of entities.
pub(super) fn learning_curve(points: &[CurvePoint]) -> String {
    let (left, right, top, bottom) = (90.0, WIDTH - 30.0, 20.0, 300.0);
    let most = points.iter().map(|point| point.entities).max().unwrap_or(1).max(1) as f64;
    let x = |entities: u64| left + (right - left) * entities as f64 / most;
    let y = |share: f64| bottom - (bottom - top) * share.clamp(0.0, 1.0);
    let mut svg = String::new();
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        line(&mut svg, "grid", [left, y(tick), right, y(tick)]);
        text(&mut svg, [left - 10.0, y(tick) + 8.0], "end", &units::percent(tick));
    }
    let mut curve = String::new();
    for point in points {
        let (x, value) = (x(point.entities), point.balanced_accuracy);
        line(&mut svg, "s0", [x, y(value.low), x, y(value.high)]);
        svg.push_str(&format!(
            "<circle class=\"s0 fill\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"7\"/>",
            y(value.mean)
        ));
        curve.push_str(&format!("{x:.1},{:.1} ", y(value.mean)));
        text(&mut svg, [x, bottom + 30.0], "middle", &point.entities.to_string());
    }
    svg.push_str(&format!("<polyline class=\"s0\" points=\"{}\"/>", curve.trim_end()));
    text(&mut svg, [right, bottom + 60.0], "end", "entities trained on");
    wrap(bottom + 70.0, "Learning curve: balanced accuracy by number of training entities", &svg)
}

/// Maximum number of drawn features.
const DRAWN: usize = 20;

/// Draws the importance of each feature, with its interval.
pub(super) fn importances(importances: &[Importance]) -> String {
    let shown = &importances[..importances.len().min(DRAWN)];
    let (left, row) = (420.0, 34.0);
    let most = shown.iter().map(|it| it.loss.high).fold(0.01, f64::max);
    let x = |loss: f64| left + (WIDTH - 120.0 - left) * loss.max(0.0) / most;
    let mut svg = String::new();
    for (number, Importance { feature, loss }) in shown.iter().enumerate() {
        let y = row * number as f64 + 22.0;
        text(&mut svg, [left - 12.0, y + 8.0], "end", &units::words(feature));
        let width = (x(loss.mean) - left).max(1.0);
        svg.push_str(&format!("<rect class=\"s0 fill\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" stroke=\"none\"/>",
            y - 8.0));
        line(&mut svg, "axis", [x(loss.low), y, x(loss.high), y]);
        text(&mut svg, [x(loss.high) + 10.0, y + 8.0], "start", &units::percent(loss.mean));
    }
    wrap(row * shown.len() as f64 + 10.0, "Importance of features: balanced accuracy lost", &svg)
}

/// Draws a tree from left to right.
pub(super) fn tree(root: &Value) -> String {
    let mut svg = String::new();
    let mut leaves = 0.0;
    node(&mut svg, root, 0, &mut leaves);
    wrap_wide(40.0 * leaves + 30.0, &svg)
}

fn wrap_wide(height: f64, inside: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 2100 {height:.0}\" style=\"min-width:1100px\" role=\"img\" aria-label=\"Decision tree\">{inside}</svg>"
    )
}

/// Draws a node and the nodes below it; returns its height.
fn node(svg: &mut String, node_of: &Value, depth: u32, leaves: &mut f64) -> f64 {
    let x = 10.0 + 340.0 * f64::from(depth);
    let (low, high) = (&node_of["low"], &node_of["high"]);
    if low.is_null() {
        let y = 30.0 + 40.0 * *leaves;
        *leaves += 1.0;
        let share = node_of["share"].as_f64().unwrap_or(0.0);
        let class = node_of["class"].as_str().unwrap_or_default();
        text(svg, [x, y], "start", &format!("{class} {}", units::percent(share)));
        return y;
    }
    let ys = [low, high].map(|child| node(svg, child, depth + 1, leaves));
    let y = f64::midpoint(ys[0], ys[1]);
    for child in ys {
        line(svg, "grid", [x + 300.0, y - 7.0, x + 335.0, child - 7.0]);
    }
    let feature = units::words(node_of["feature"].as_str().unwrap_or_default());
    let threshold = node_of["threshold"].as_f64().unwrap_or(0.0);
    let threshold = units::quantity(node_of["unit"].as_str().unwrap_or_default(), threshold);
    let short: String = feature.chars().take(24).collect();
    text(svg, [x, y - 12.0], "start", &short);
    text(svg, [x, y + 12.0], "start", &format!("≤ {threshold}"));
    y
}
