//! Graphs of data flow: boxes with arrows between them.

use contract::StepError;
use plotters::coord::Shift;
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::prelude::{DrawingArea, IntoDrawingArea as _, IntoTextStyle as _, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::chart::{FONT, Ink, SCALE, element};

/// A box: a title, and lines below or beside it.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub title: String,
    /// Its text.
    pub lines: Vec<String>,
}

/// Layers of boxes: each box of a layer was made from all boxes of the previous layer.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The layers, the first one first.
    pub layers: Vec<Vec<Node>>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;
/// A position in CSS pixels.
type Place = (u32, u32);

/// Room between layers.
const GAP: u32 = 34;
/// Room between the boxes of a layer.
const BETWEEN: u32 = 10;
/// Height of a line of text.
const LINE: u32 = 15;
/// Room around the text of a box.
const PADDING: u32 = 8;
/// Width of the drawing for wide screens, which the layers share.
const WIDE: u32 = 1080;
/// Width of the drawing for others.
const TALL: u32 = 340;
/// Width of the rails at the sides, in which arrows run past the boxes of a layer.
const RAIL: u32 = 18;

impl Graph {
    /// Draws the graph from left to right for wide screens, and from top to bottom for others.
    pub fn svgs(&self, alternative: &str) -> Result<[String; 2], StepError> {
        let lines = self.layers.iter().flatten().map(|node| node.lines.len()).max().unwrap_or(0);
        let lines = u32::try_from(lines).unwrap_or(0);
        let tallest = self.layers.iter().map(Vec::len).max().unwrap_or(1);
        let tallest = u32::try_from(tallest).unwrap_or(1);
        let box_height = (lines + 1) * LINE + 2 * PADDING;
        let height = tallest * (box_height + BETWEEN);
        let wide = element((WIDE, height), "wide", alternative, |backend| {
            self.across(backend, box_height, height)
        })?;
        let height = self.rows().last().map_or(1, |(row, _)| row + ROW + 2);
        let tall = element((TALL, height), "tall", alternative, |backend| self.down(backend))?;
        Ok([wide, tall])
    }

    fn across(&self, backend: SVGBackend<'_>, box_height: u32, height: u32) -> Drawn {
        let area = backend.into_drawing_area();
        let layers = u32::try_from(self.layers.len()).unwrap_or(1).max(1);
        let width = (WIDE - (layers - 1) * GAP) / layers;
        let top = |layer: &[Node], index: usize| {
            let [all, index] = [layer.len(), index].map(|n| u32::try_from(n).unwrap_or(0));
            let used = all * (box_height + BETWEEN) - BETWEEN;
            (height - used) / 2 + index * (box_height + BETWEEN)
        };
        for (number, layer) in (0..).zip(&self.layers) {
            let left = number * (width + GAP);
            for (index, node) in layer.iter().enumerate() {
                let place = (left, top(layer, index));
                card(&area, place, (width, box_height))?;
                label(&area, (left + PADDING, place.1 + PADDING), &node.title, Ink::Title)?;
                for (line, text) in (1..).zip(&node.lines) {
                    let below = (left + PADDING, place.1 + PADDING + line * LINE);
                    label(&area, below, text, Ink::Text)?;
                }
            }
            let Some(next) = self.layers.get(number as usize + 1) else { continue };
            let middle = |layer: &[Node], index: usize| top(layer, index) + box_height / 2;
            let (start, end) = (left + width, left + width + GAP);
            for from in (0..layer.len()).map(|index| middle(layer, index)) {
                for to in (0..next.len()).map(|index| middle(next, index)) {
                    let turn = start + GAP / 2;
                    arrow(&area, &[(start, from), (turn, from), (turn, to), (end, to)])?;
                }
            }
        }
        area.present()?;
        Ok(())
    }

    /// Returns the top of each box in the drawing from top to bottom, with its layer.
    fn rows(&self) -> Vec<(u32, usize)> {
        let mut rows: Vec<(u32, usize)> = Vec::new();
        for layer in
            self.layers.iter().enumerate().flat_map(|(l, nodes)| nodes.iter().map(move |_| l))
        {
            let top = match rows.last() {
                None => 1,
                Some((top, before)) if *before == layer => top + ROW + BETWEEN,
                Some((top, _)) => top + ROW + GAP - BETWEEN,
            };
            rows.push((top, layer));
        }
        rows
    }

    /// In a layer of several boxes, arrows leave on the right and arrive on the left, and pass the
    /// other boxes of the layer.
    fn down(&self, backend: SVGBackend<'_>) -> Drawn {
        let area = backend.into_drawing_area();
        let rows = self.rows();
        let (left, right) = (RAIL, TALL - RAIL);
        for ((top, _), node) in rows.iter().zip(self.layers.iter().flatten()) {
            card(&area, (left, *top), (right - left, ROW))?;
            label(&area, (left + PADDING, top + PADDING), &node.title, Ink::Title)?;
            let lines = node.lines.join(" ");
            end_label(&area, (right - PADDING, top + PADDING), &lines)?;
        }
        for layer in 1..self.layers.len() {
            let tops = |wanted: usize| rows.iter().filter(move |(_, l)| *l == wanted).map(|r| r.0);
            let (Some(from), Some(first)) = (tops(layer - 1).next_back(), tops(layer).next())
            else {
                continue;
            };
            let (end, turn) = (from + ROW, first - (GAP - BETWEEN) / 2);
            let middle = TALL / 2;
            for before in tops(layer - 1).filter(|top| *top != from) {
                let side = before + ROW / 2;
                line(&area, &[(right, side), (TALL - 3, side), (TALL - 3, turn), (middle, turn)])?;
            }
            arrow(&area, &[(middle, end), (middle, first)])?;
            for next in tops(layer).skip(1) {
                let side = next + ROW / 2;
                arrow(&area, &[(middle, turn), (3, turn), (3, side), (left, side)])?;
            }
        }
        area.present()?;
        Ok(())
    }
}

/// Height of a box in the drawing from top to bottom.
const ROW: u32 = LINE + 2 * PADDING;

fn scaled((x, y): Place) -> (i32, i32) {
    let pixel = |value: u32| i32::try_from(value * SCALE).unwrap_or(i32::MAX);
    (pixel(x), pixel(y))
}

fn card(area: &Area<'_>, (left, top): Place, (width, height): Place) -> Drawn {
    let corners = [scaled((left, top)), scaled((left + width, top + height))];
    area.draw(&Rectangle::new(corners, Ink::Card.filled()))?;
    let [(left, top), (right, bottom)] = corners;
    let around = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    area.draw(&PathElement::new(around, Ink::Axis.stroke()))?;
    Ok(())
}

fn label(area: &Area<'_>, place: Place, text: &str, ink: Ink) -> Drawn {
    write(area, place, text, ink, HPos::Left)
}

fn end_label(area: &Area<'_>, place: Place, text: &str) -> Drawn {
    write(area, place, text, Ink::Text, HPos::Right)
}

fn write(area: &Area<'_>, place: Place, text: &str, ink: Ink, side: HPos) -> Drawn {
    let size = f64::from(FONT * SCALE);
    let colour = ink.colour();
    let style = ("sans-serif", size).into_text_style(area).color(&colour);
    area.draw(&Text::new(text.to_owned(), scaled(place), style.pos(Pos::new(side, VPos::Top))))?;
    Ok(())
}

fn line(area: &Area<'_>, places: &[Place]) -> Drawn {
    let places: Vec<_> = places.iter().copied().map(scaled).collect();
    area.draw(&PathElement::new(places, Ink::Axis.stroke()))?;
    Ok(())
}

/// A line with a head at its end, in the direction of its last part.
fn arrow(area: &Area<'_>, places: &[Place]) -> Drawn {
    line(area, places)?;
    let [.., before, end] = places else { return Ok(()) };
    let ((x, y), size) = (scaled(*end), 5 * i32::try_from(SCALE).unwrap_or(1));
    let head = if before.1 == end.1 {
        [(x, y), (x - size, y - size / 2), (x - size, y + size / 2)]
    } else {
        [(x, y), (x - size / 2, y - size), (x + size / 2, y - size)]
    };
    area.draw(&Polygon::new(head, Ink::Text.filled()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_box_is_named_and_every_two_layers_are_joined() {
        let node = |title: &str| Node { title: title.to_owned(), lines: vec!["<x>".to_owned()] };
        let layers = vec![
            vec![node("a"), node("b")],
            vec![node("c")],
            vec![node("d"), node("e"), node("f")],
        ];
        let graph = Graph { layers };
        for (svg, arrows) in graph.svgs("what was made of what").unwrap().iter().zip([5, 1 + 3]) {
            assert!(svg.contains(r#"aria-label="what was made of what""#), "{svg}");
            assert_eq!(svg.matches("title fill").count(), 6, "{svg}");
            assert_eq!(svg.matches("&lt;x&gt;").count(), 6, "{svg}");
            assert_eq!(svg.matches("<polygon").count(), arrows, "{svg}");
        }
        let alone = Graph { layers: vec![vec![node("a")]] };
        assert!(!alone.svgs("only one").unwrap()[0].contains("<polygon"));
    }
}
