//! Figures as SVG, drawn by plotters.
//!
//! Every colour is a class, so the page's style sheet can give it another value on a dark screen or
//! on paper; the palette is Okabe and Ito's, which stays distinct for colour-blind readers, and no
//! information is shown by colour alone.

use contract::StepError;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, IntoTextStyle as _, PathElement, Polygon, RGBColor,
    Rectangle, SVGBackend, ShapeStyle, Text,
};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::axis::Axis;

/// Meaning of a mark; the style sheet has its appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Axis labels.
    Text,
    /// Grid lines.
    Grid,
    /// The lines of the axes.
    Axis,
    /// A series, by its number; the colours repeat if there are more series.
    Series(usize),
    /// Score above which a window is anomalous.
    Threshold,
    /// A labelled fault.
    Fault,
    /// An alarm.
    Alarm,
    /// Data that is missing.
    Missing,
    /// The range between the extremes of many series.
    Band,
    /// The bounds of a series, by its number.
    Bounds(usize),
    /// A box with text.
    Card,
    /// A label that is emphasised.
    Title,
    /// Where the model changed.
    Switch,
}

/// Number of colours of [`Ink::Series`].
pub const SERIES: usize = 6;

impl Ink {
    const ALL: [Self; 23] = [
        Self::Text,
        Self::Grid,
        Self::Axis,
        Self::Threshold,
        Self::Fault,
        Self::Alarm,
        Self::Missing,
        Self::Band,
        Self::Switch,
        Self::Series(0),
        Self::Series(1),
        Self::Series(2),
        Self::Series(3),
        Self::Series(4),
        Self::Series(5),
        Self::Bounds(0),
        Self::Bounds(1),
        Self::Bounds(2),
        Self::Bounds(3),
        Self::Bounds(4),
        Self::Bounds(5),
        Self::Card,
        Self::Title,
    ];

    /// Returns the class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Text => "ink",
            Self::Grid => "grid",
            Self::Axis => "axis",
            Self::Threshold => "threshold",
            Self::Fault => "fault",
            Self::Alarm => "alarm",
            Self::Missing => "missing",
            Self::Band => "band",
            Self::Switch => "switch",
            Self::Card => "card",
            Self::Title => "title",
            Self::Bounds(number) => ["b0", "b1", "b2", "b3", "b4", "b5"][number % SERIES],
            Self::Series(number) => ["s0", "s1", "s2", "s3", "s4", "s5"][number % SERIES],
        }
    }

    /// Returns a placeholder colour of the class until the drawing is done.
    pub(crate) fn colour(self) -> RGBColor {
        let number = Self::ALL.iter().position(|ink| ink.class() == self.class()).unwrap_or(0);
        RGBColor(0, 1, u8::try_from(number).unwrap_or(0))
    }

    pub(crate) fn filled(self) -> ShapeStyle {
        self.colour().filled()
    }

    pub(crate) fn stroke(self) -> ShapeStyle {
        self.colour().stroke_width(1)
    }
}

/// Size of a figure, in CSS pixels before scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Room for the labels of the vertical axis.
    pub left: u32,
}

/// Factor from CSS pixels to pixels of plotters, which are integers; half a CSS pixel is precise
/// enough.
pub(crate) const SCALE: u32 = 2;

/// Minimum width of an alarm or a fault: 2 CSS pixels.
const THINNEST: i32 = 2 * SCALE.cast_signed();

/// Height of labels in CSS pixels; the style sheet has the same number times [`SCALE`].
pub(crate) const FONT: u32 = 11;

/// Something drawn over the grid.
#[derive(Debug, Clone)]
pub enum Mark {
    /// Connected points.
    Line(Vec<(f64, f64)>, Ink),
    /// An area between the smallest and the largest value at each place.
    Area(Vec<(f64, f64, f64)>, Ink),
    /// A rectangle from one corner to the other.
    Block([(f64, f64); 2], Ink),
    /// A single point.
    Dot((f64, f64), Ink),
    /// A short text, centred, below a point.
    Note((f64, f64), String),
}

/// A figure: two axes and what is drawn between them, in order.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its size.
    pub size: Size,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The drawn marks, the first at the bottom.
    pub marks: Vec<Mark>,
}

impl Chart {
    /// Returns the figure as an SVG element with `alternative` as its alternative text. `class` is
    /// its class in the style sheet.
    pub fn svg(&self, class: &str, alternative: &str) -> Result<String, StepError> {
        let size = (self.size.width, self.size.height);
        element(size, class, alternative, |backend| self.draw(backend))
    }

    fn draw(&self, backend: SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let root = backend.into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(6 * SCALE)
            .margin_right(8 * SCALE)
            .x_label_area_size(18 * SCALE)
            .y_label_area_size(self.size.left * SCALE)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let size = f64::from(FONT * SCALE);
        let style = ("sans-serif", size).with_color(Ink::Text.colour()).into_text_style(&root);
        let (below, above): (Vec<&Mark>, Vec<&Mark>) =
            self.marks.iter().partition(|mark| matches!(mark, Mark::Block(..)));
        for mark in below {
            draw_mark(&mut chart, mark)?;
        }
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(Ink::Grid.stroke())
            .bold_line_style(Ink::Grid.stroke())
            .axis_style(Ink::Axis.stroke())
            .label_style(style)
            .x_label_formatter(&|value| self.x.label(*value))
            .y_label_formatter(&|value| self.y.label(*value))
            .set_all_tick_mark_size(3 * SCALE)
            .draw()?;
        for mark in above {
            draw_mark(&mut chart, mark)?;
        }
        drop(chart);
        root.present()?;
        Ok(())
    }
}

/// Returns the drawing of `draw`, `size` CSS pixels wide and high, as an SVG element with
/// `alternative` as its alternative text.
pub(crate) fn element(
    size: (u32, u32),
    class: &str,
    alternative: &str,
    draw: impl FnOnce(SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String, StepError> {
    let (width, height) = (size.0 * SCALE, size.1 * SCALE);
    let mut drawn = String::new();
    draw(SVGBackend::with_string(&mut drawn, (width, height)))
        .map_err(|e| StepError::bug(format!("cannot draw a figure: {e}")))?;
    let mut svg = format!(
        r#"<svg class="{class}" viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#,
        escaped(alternative)
    );
    shorten(&drawn, &mut svg);
    Ok(svg)
}

type Plot<'a, 'b> = plotters::chart::ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

fn draw_mark(
    chart: &mut Plot<'_, '_>,
    mark: &Mark,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let area = chart.plotting_area();
    match mark {
        // A line with one point would not be visible.
        Mark::Line(points, ink) if points.len() == 1 => {
            area.draw(&plotters::element::Circle::new(points[0], SCALE, ink.filled()))
        }
        Mark::Line(points, ink) => area.draw(&PathElement::new(points.clone(), ink.stroke())),
        Mark::Area(points, ink) => {
            let up = points.iter().map(|(x, low, _)| (*x, *low));
            let down = points.iter().rev().map(|(x, _, high)| (*x, *high));
            area.draw(&Polygon::new(up.chain(down).collect::<Vec<_>>(), ink.filled()))
        }
        Mark::Block(corners, ink @ (Ink::Alarm | Ink::Fault)) => draw_seen(area, *corners, *ink),
        Mark::Block(corners, ink) => area.draw(&Rectangle::new(*corners, ink.filled())),
        Mark::Dot(point, ink) => {
            area.draw(&plotters::element::Circle::new(*point, 4 * SCALE, ink.filled()))
        }
        Mark::Note(point, text) => {
            let size = f64::from(FONT * SCALE);
            let style = ("sans-serif", size).with_color(Ink::Text.colour());
            let style = style.into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(text.clone(), *point, style))
        }
    }
}

/// Draws a block that must be visible however short its time is: at least [`THINNEST`] wide.
fn draw_seen(
    area: &DrawingArea<SVGBackend<'_>, Cartesian2d<Axis, Axis>>,
    corners: [(f64, f64); 2],
    ink: Ink,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let [from, to] = corners.map(|corner| area.map_coordinate(&corner));
    if to.0 - from.0 >= THINNEST {
        return area.draw(&Rectangle::new(corners, ink.filled()));
    }
    // From here on, coordinates are pixels of the area, relative to its corner.
    let base = area.get_base_pixel();
    let width = i32::try_from(area.dim_in_pixel().0).unwrap_or(i32::MAX);
    let left = (from.0 - base.0).min(width - THINNEST).max(0);
    let rectangle = [(left, from.1 - base.1), (left + THINNEST, to.1 - base.1)];
    area.strip_coord_spec().draw(&Rectangle::new(rectangle, ink.filled()))
}

/// Leaves out attributes that the style sheet sets for all figures, and replaces colours by
/// classes: a page has a hundred figures.
fn shorten(drawn: &str, svg: &mut String) {
    let mut text = drawn.split_once('>').map_or("", |(_, inside)| inside).replace('\n', "");
    for ink in Ink::ALL {
        let RGBColor(red, green, blue) = ink.colour();
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        let class = ink.class();
        text = text
            .replace(&format!("fill=\"{colour}\""), &format!("class=\"{class} fill\""))
            .replace(&format!("stroke=\"{colour}\""), &format!("class=\"{class}\""));
    }
    let font = format!(" font-size=\"{}\"", f64::from(FONT * SCALE) / 1.24);
    for said in [
        " opacity=\"1\"",
        " fill=\"none\"",
        " stroke=\"none\"",
        " stroke-width=\"1\"",
        " font-family=\"sans-serif\"",
        font.as_str(),
    ] {
        text = text.replace(said, "");
    }
    svg.push_str(&text.replace(" \"/>", "\"/>"));
}

/// Returns text for an attribute in double quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Unit;

    fn chart(marks: Vec<Mark>) -> Chart {
        let unit = Unit::of("", 1.0);
        let axis = Axis::of_values(0.0, 10.0, &unit, 3);
        let size = Size { width: 340, height: 120, left: 40 };
        Chart { size, x: axis.clone(), y: axis, marks }
    }

    #[test]
    fn a_figure_has_a_text_alternative_and_no_colour_of_its_own() {
        let line = Mark::Line(vec![(0.0, 1.0), (5.0, 9.0), (10.0, 2.0)], Ink::Series(1));
        let note = Mark::Note((5.0, 10.0), "<1>".to_owned());
        let svg = chart(vec![line, note]).svg("wide", "rises \"to\" 9 & falls").unwrap();
        assert!(svg.contains(r#"aria-label="rises &quot;to&quot; 9 &amp; falls""#), "{svg}");
        assert!(svg.contains("&lt;1&gt;") && !svg.contains("<1>"), "{svg}");
        assert!(svg.contains(r#"<polyline class="s1" points=""#), "{svg}");
        for word in ["#", "font", "opacity", "width=", "xmlns"] {
            assert!(!svg.contains(word), "{word}: {svg}");
        }
    }

    #[test]
    fn alarm_of_no_width_is_at_least_two_pixels_wide() {
        let width = |from: f64, to: f64, ink| {
            let svg = chart(vec![Mark::Block([(from, 0.0), (to, 10.0)], ink)]).svg("", "").unwrap();
            let class = format!("class=\"{} fill\"", ink.class());
            let rect = svg.split("<rect").find(|part| part.contains(&class)).unwrap().to_owned();
            let value = |name: &str| {
                let start = format!(" {name}=\"");
                let rest = rect.split_once(&start).unwrap().1;
                rest.split_once('"').unwrap().0.parse::<i32>().unwrap()
            };
            assert!(value("x") + value("width") <= 680, "inside of the figure: {rect}");
            value("width")
        };
        for ink in [Ink::Alarm, Ink::Fault] {
            assert_eq!(width(5.0, 5.001, ink), 4, "drawn at twice the size");
            assert_eq!(width(10.0, 10.0, ink), 4);
            assert!(width(2.0, 8.0, ink) > 300);
        }
        assert!(width(5.0, 5.001, Ink::Missing) < 4);
    }

    #[test]
    fn a_single_point_is_seen() {
        let svg = chart(vec![Mark::Line(vec![(5.0, 5.0)], Ink::Series(0))]).svg("", "").unwrap();
        assert!(svg.contains("<circle"), "{svg}");
    }

    #[test]
    fn every_ink_has_a_colour_and_a_class_of_its_own() {
        let mut classes: Vec<_> = Ink::ALL.iter().map(|ink| ink.class()).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), Ink::ALL.len());
        assert_eq!(Ink::Series(SERIES).class(), "s0");
    }
}
