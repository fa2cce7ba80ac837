//! A real browser for tests of pages: Debian's `chromium`, without a window.
//!
//! `LYNCEUS_TEST_BROWSER=off` skips these tests.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Loads the page into frames of three widths, opens all folded parts, and writes its findings into
/// its title. Only the harness runs scripts; the page forbids its own.
const MEASURE: &str = r#"<!DOCTYPE html><html><head><title></title></head><body style="margin:0"><script>
const page = PAGE, found = {};
let waiting = 3;
function luminance(c) { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; }
function parts(c) { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; }
function contrast(a, b) { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); }
for (const width of [360, 800, 1400]) {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = () => {
    const doc = frame.contentDocument, view = frame.contentWindow, report = { sticks_out: [], pale: [], small: [], faint: [], order: [], requests: [] };
    doc.querySelectorAll('details').forEach(d => d.open = true);
    report.scroll_width = doc.documentElement.scrollWidth;
    report.client_width = doc.documentElement.clientWidth;
    const background = e => { for (; e; e = e.parentElement) { const c = parts(view.getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c.slice(0, 3); } return [255, 255, 255]; };
    for (const e of doc.body.querySelectorAll('*')) {
      const style = view.getComputedStyle(e), box = e.getBoundingClientRect();
      if (style.display === 'none' || !box.width || e.closest('.skip')) continue;
      if (!e.closest('.scroll') || e.matches('.scroll')) if (box.right > width + 1 || box.left < -1) report.sticks_out.push(e.outerHTML.slice(0, 120));
      const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
      if (!own || e.closest('style')) continue;
      const svg = e.closest('svg');
      const colour = parts(svg ? style.fill : style.color).slice(0, 3);
      const ratio = contrast(colour, background(svg ? svg.parentElement : e));
      if (ratio < 4.5) report.pale.push([ratio.toFixed(2), e.outerHTML.slice(0, 120)]);
      const size = svg ? parseFloat(style.fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : parseFloat(style.fontSize);
      if (size < 9.5) report.small.push([size.toFixed(1), e.outerHTML.slice(0, 120)]);
    }
    for (const e of doc.querySelectorAll('polyline[class^=s], .threshold, .alarm.fill')) {
      const style = view.getComputedStyle(e), svg = e.closest('svg');
      if (!svg || view.getComputedStyle(svg).display === 'none') continue;
      const ratio = contrast(parts(e.matches('.fill') ? style.fill : style.stroke).slice(0, 3), background(svg.parentElement));
      if (ratio < 3) report.faint.push([ratio.toFixed(2), e.outerHTML.slice(0, 60)]);
    }
    const stops = [...doc.querySelectorAll('a[href], summary, [tabindex]')];
    if (!stops.length || !stops[0].matches('.skip, [tabindex]')) report.order.push('the first stop leads to the report');
    for (const e of stops) {
      if (e.tabIndex !== 0) report.order.push(['is not a stop', e.outerHTML.slice(0, 120)]);
      e.focus();
      const box = e.getBoundingClientRect(), style = view.getComputedStyle(e);
      if (doc.activeElement !== e || style.outlineStyle === 'none' || !box.width || box.left < -1) report.order.push(['is not seen', e.outerHTML.slice(0, 120)]);
    }
    for (const e of doc.querySelectorAll('.scroll')) if (e.scrollWidth > e.clientWidth && e.tabIndex !== 0) report.order.push(['cannot be scrolled by keyboard', e.outerHTML.slice(0, 120)]);
    report.requests = [...doc.scripts].map(e => e.outerHTML.slice(0, 120)).concat(view.performance.getEntriesByType('resource').map(r => r.name));
    for (const key in report) report[key] = report[key].slice ? report[key].slice(0, 5) : report[key];
    report.background = view.getComputedStyle(doc.documentElement).backgroundColor;
    found[width] = report;
    if (!--waiting) document.title = JSON.stringify(found);
  };
  frame.srcdoc = page;
  document.body.append(frame);
}
</script></body></html>"#;

/// Compares two pictures in small squares: brightness and colour of a square are averaged, so that
/// a changed number or a different font hinting does not count, but a changed layout does.
const COMPARE: &str = r"<!DOCTYPE html><html><head><title></title></head><body><script>
const side = 8, load = name => new Promise((done, failed) => { const i = new Image(); i.onload = () => done(i); i.onerror = () => failed(name); i.src = name; });
const squares = image => { const c = document.createElement('canvas'); c.width = Math.ceil(image.width / side); c.height = Math.ceil(image.height / side); const x = c.getContext('2d'); x.imageSmoothingQuality = 'high'; x.drawImage(image, 0, 0, c.width, c.height); return [c.width, c.height, x.getImageData(0, 0, c.width, c.height).data]; };
Promise.all(['REFERENCE', 'PICTURE'].map(load)).then(images => {
  const [a, b] = images.map(squares);
  if (a[0] !== b[0] || a[1] !== b[1]) return 1;
  let other = 0;
  for (let i = 0; i < a[2].length; i += 4) other += [0, 1, 2].some(k => Math.abs(a[2][i + k] - b[2][i + k]) > 32);
  return other / (a[2].length / 4);
}).then(share => document.title = JSON.stringify(share), error => document.title = JSON.stringify('' + error));
</script></body></html>";

/// Returns whether tests with a browser are enabled.
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
pub(crate) fn wanted() -> bool {
    let off = std::env::var_os("LYNCEUS_TEST_BROWSER").is_some_and(|value| value == "off");
    if off {
        println!("left out: LYNCEUS_TEST_BROWSER=off");
    }
    !off
}

/// Runs Chromium on a file with a separate profile and returns its output.
fn chromium(dark: bool, flags: &[&str], file: &Path) -> Result<String> {
    let profile = tempfile::tempdir()?;
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    // 0 is dark and 1 is light.
    command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)));
    command.args(flags).arg(format!("file://{}", file.display()));
    let output = command.output().context("cannot start `chromium`: apt-get install chromium")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Opens a page of the tests and returns the text that it wrote into its title.
fn title_of(text: &str, dark: bool) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("harness.html");
    fs_err::write(&file, text)?;
    let flags = ["--virtual-time-budget=30000", "--dump-dom", "--window-size=1500,1000"];
    let dom = chromium(dark, &flags, &file)?;
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.context("the harness has a title")?.0;
    let title = title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&title).with_context(|| format!("the harness measured: {title}"))
}

/// Checks a page at the widths of a phone, a tablet and a desktop, light and dark: nothing
/// overflows, text and lines have the contrast of WCAG AA, the keyboard reaches all elements in
/// order, and the page runs no scripts and fetches nothing.
pub(crate) fn check(page: &str) -> Result<()> {
    // `</` would end the harness's own script.
    let literal = serde_json::to_string(page)?.replace("</", "<\\/");
    let harness = MEASURE.replacen("PAGE", &literal, 1);
    for (dark, background) in [(false, "rgb(255, 255, 255)"), (true, "rgb(20, 22, 26)")] {
        let found = title_of(&harness, dark)?;
        for width in ["360", "800", "1400"] {
            let found = &found[width];
            let place = format!("at {width}, dark {dark}: {found:#}");
            ensure!(found["background"] == background, "the colours are those asked for {place}");
            ensure!(found["scroll_width"] == found["client_width"], "nothing scrolls {place}");
            for trouble in ["sticks_out", "pale", "small", "faint", "order", "requests"] {
                ensure!(found[trouble] == serde_json::json!([]), "{trouble} {place}");
            }
        }
    }
    Ok(())
}

/// Takes a picture of the upper part of a page, at half size.
pub(crate) fn picture(page: &Path, width: u32, height: u32, dark: bool, to: &Path) -> Result<()> {
    let size = format!("--window-size={width},{height}");
    let target = format!("--screenshot={}", to.display());
    let flags = [target.as_str(), size.as_str(), "--force-device-scale-factor=0.5"];
    chromium(dark, &flags, page).map(drop)
}

/// Returns the share of two pictures that differs.
pub(crate) fn difference(reference: &Path, picture: &Path) -> Result<f64> {
    let name = |path: &Path| format!("file://{}", path.display());
    let text = COMPARE.replace("REFERENCE", &name(reference)).replace("PICTURE", &name(picture));
    title_of(&text, false)?.as_f64().context("the pictures can be read")
}
