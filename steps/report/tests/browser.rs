//! Pages in a real browser, at the widths of a phone, a tablet and a desk, light and dark: nothing
//! sticks out, everything is legible. `LYNCEUS_TEST_BROWSER=on` runs it; it needs Chromium.
//!
//! The pictures stay in the target folder (`tmp/report-*.png`) for a person to look at.

mod made;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use made::{Made, overwrite};
use serde_json::Value;

/// Loads the page into frames of three widths, opens whatever is folded, and writes what it finds
/// into its title. Scripts are the harness's; the page forbids its own.
const HARNESS: &str = r#"<!DOCTYPE html><html><head><title></title></head><body style="margin:0"><script>
const page = PAGE, found = {};
let waiting = 3;
function luminance(c) { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; }
function parts(c) { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; }
function contrast(a, b) { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); }
for (const width of [360, 800, 1400]) {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = () => {
    const doc = frame.contentDocument, view = frame.contentWindow, report = { sticks_out: [], pale: [], small: [] };
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
    for (const key of ['sticks_out', 'pale', 'small']) report[key] = report[key].slice(0, 5);
    report.background = view.getComputedStyle(doc.documentElement).backgroundColor;
    found[width] = report;
    if (!--waiting) document.title = JSON.stringify(found);
  };
  frame.srcdoc = page;
  document.body.append(frame);
}
</script></body></html>"#;

#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn wanted() -> bool {
    let on = std::env::var_os("LYNCEUS_TEST_BROWSER").is_some_and(|value| value == "on");
    if !on {
        println!("left out: set LYNCEUS_TEST_BROWSER=on");
    }
    on
}

/// Runs Chromium over a file with a profile of its own and returns what it printed.
fn chromium(profile: &Path, dark: bool, flags: &[&str], file: &Path) -> Result<String> {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    // 0 is dark and 1 is light.
    command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)));
    command.args(flags).arg(format!("file://{}", file.display()));
    let output = command.output().context("chromium starts")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Measures a page and returns what the harness found, by width.
fn measured(made: &Made, page: &str, dark: bool) -> Result<Value> {
    // `</` would end the harness's own script.
    let literal = serde_json::to_string(page)?.replace("</", "<\\/");
    let file = made.path("harness.html");
    overwrite(&file, HARNESS.replacen("PAGE", &literal, 1).as_bytes())?;
    let flags = ["--virtual-time-budget=30000", "--dump-dom", "--window-size=1500,1000"];
    let dom = chromium(&made.path("profile"), dark, &flags, &file)?;
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.context("the harness has a title")?.0;
    let title = title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&title).with_context(|| format!("the harness measured: {title}"))
}

fn check(made: &Made, page: &str) -> Result<()> {
    for (dark, background) in [(false, "rgb(255, 255, 255)"), (true, "rgb(20, 22, 26)")] {
        let found = measured(made, page, dark)?;
        for width in ["360", "800", "1400"] {
            let found = &found[width];
            let place = format!("at {width}, dark {dark}: {found:#}");
            ensure!(found["background"] == background, "the colours are those asked for {place}");
            ensure!(found["scroll_width"] == found["client_width"], "nothing scrolls {place}");
            for trouble in ["sticks_out", "pale", "small"] {
                ensure!(found[trouble] == serde_json::json!([]), "{trouble} {place}");
            }
        }
    }
    Ok(())
}

fn picture(made: &Made, name: &str, dark: bool) -> Result<()> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}.png"));
    let flags = [format!("--screenshot={}", file.display()), "--window-size=1400,4000".to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    chromium(&made.path("profile"), dark, &flags, &made.path("report.html")).map(drop)
}

#[test]
fn a_run_and_its_scores_fit_every_screen_and_can_be_read() {
    if !wanted() {
        return;
    }
    let made = Made::new(&[""]).unwrap();
    check(&made, &made.whole_page().unwrap()).unwrap();
    picture(&made, "whole", false).unwrap();
    picture(&made, "whole-dark", true).unwrap();
}

#[test]
fn a_hundred_entities_with_long_names_fit_every_screen() {
    if !wanted() {
        return;
    }
    let name = |number| format!("a-namespace-of-some-length/a-workload-56f686d7fc-{number:05}");
    let names: Vec<String> = (0..100).map(name).collect();
    let made = Made::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    check(&made, &made.whole_page().unwrap()).unwrap();
    picture(&made, "many", false).unwrap();
}

#[test]
fn the_measurement_finds_what_sticks_out_and_what_is_pale() {
    if !wanted() {
        return;
    }
    let made = Made::new(&[""]).unwrap();
    let page = made.page(&["--run", "run"]).unwrap();
    for (rule, trouble) in [
        ("h1{width:2000px}", "sticks_out"),
        (".made{color:#999}@media (prefers-color-scheme:dark){.made{color:#555}}", "pale"),
        ("svg text{font-size:14px!important}", "small"),
    ] {
        let worse = page.replace("</style>", &format!("{rule}</style>"));
        let error = check(&made, &worse).unwrap_err().to_string();
        assert!(error.contains(trouble) || error.contains("nothing scrolls"), "{rule}: {error}");
    }
}
