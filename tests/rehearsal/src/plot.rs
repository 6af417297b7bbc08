//! Plots the day as an SVG: three panels over one time axis.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::plan::Plan;
use super::timeline::{Phase, Row, Timeline};
use fleet_harness::Failure;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 92.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

/// The approximate width of a letter in a phase's label.
const LETTER: f64 = 6.6;

/// One line in a panel.
struct Line {
    label: &'static str,
    colour: &'static str,
    /// Whether the line holds each value until the next point. Otherwise points are connected directly.
    is_stepped: bool,
    value: fn(&Row) -> f64,
}

/// One panel with its own vertical axis.
struct Panel {
    label: &'static str,
    lines: &'static [Line],
}

const PANELS: [Panel; 3] = [
    Panel {
        label: "replicas",
        lines: &[
            Line {
                label: "wanted",
                colour: "#1f5fbf",
                is_stepped: true,
                value: |row| f64::from(row.desired),
            },
            Line { label: "ready", colour: "#3a9d5d", is_stepped: true, value: |row| f64::from(row.ready) },
        ],
    },
    Panel {
        label: "backlog, MB",
        lines: &[Line {
            label: "accepted, not settled",
            colour: "#b8472a",
            is_stepped: false,
            value: |row| row.backlog_bytes / 1e6,
        }],
    },
    Panel {
        label: "oldest message, s",
        lines: &[Line {
            label: "age",
            colour: "#7a4fb5",
            is_stepped: false,
            value: |row| row.oldest_seconds,
        }],
    },
];

/// Draws the day into a file.
pub(super) fn write(file: &Path, plan: &Plan, timeline: &Timeline) -> Result<(), Failure> {
    fs::write(file, draw(plan, timeline)).map_err(Failure::io(format!("write {}", file.display())))
}

/// Maps time to horizontal positions.
#[derive(Clone, Copy)]
struct Across {
    seconds: f64,
}

impl Across {
    fn x(self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.seconds
    }
}

fn draw(plan: &Plan, timeline: &Timeline) -> String {
    let seconds = timeline.rows.last().map_or(1.0, |row| row.at.as_secs_f64()).max(1.0);
    let across = Across { seconds };
    let height = TOP + 3.0 * PANEL + 2.0 * GAP + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">A day of autoscaling, every period divided by {}\
         </text>\n<text x=\"{LEFT}\" y=\"41\" fill=\"#555\">{} to {} replicas of {} events/s each; a bomb of {} events</text>\n",
        plan.choice.speed,
        plan.rules().min_replicas,
        plan.rules().max_replicas,
        plan.choice.events_per_second,
        plan.choice.bomb_events,
    );
    phases(&mut svg, across, timeline);
    for (index, panel) in (0_u8..).zip(&PANELS) {
        draw_panel(&mut svg, across, panel, TOP + f64::from(index) * (PANEL + GAP), &timeline.rows);
    }
    let bottom = height - BOTTOM;
    time_axis(&mut svg, across, bottom);
    svg.push_str("</svg>\n");
    svg
}

/// Draws the phases as bands behind all panels, with a label above each. Narrow bands alternate between two
/// label rows.
fn phases(svg: &mut String, across: Across, timeline: &Timeline) {
    let ends = timeline.phases.iter().skip(1).map(|(_, at)| at.as_secs_f64()).chain([across.seconds]);
    let mut free_from = [0.0; 2];
    for (index, ((phase, begin), end)) in timeline.phases.iter().zip(ends).enumerate() {
        let (left, right) = (across.x(begin.as_secs_f64()), across.x(end.min(across.seconds)));
        let fill = match phase {
            Phase::Bomb => "#fbe9e3",
            Phase::Hang | Phase::SourceGone | Phase::Rollout => "#fdf6d8",
            Phase::Night | Phase::RushHour | Phase::Evening | Phase::LateEvening => {
                if index % 2 == 0 {
                    "#f1f3f6"
                } else {
                    "#f8f9fb"
                }
            }
        };
        let height = 3.0 * PANEL + 2.0 * GAP;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{height}\" fill=\"{fill}\"/>",
            (right - left).max(0.5)
        );
        let label = phase.label();
        let half = LETTER * f64::from(u32::try_from(label.len()).unwrap_or(0)) / 2.0;
        let middle = f64::midpoint(left, right).clamp(LEFT + half, WIDTH - half);
        let line = usize::from(free_from[0] > middle - half);
        let y = if line == 0 { TOP - 8.0 } else { TOP - 23.0 };
        if let Some(free) = free_from.get_mut(line) {
            *free = middle + half + LETTER;
        }
        let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
    }
}

fn draw_panel(svg: &mut String, across: Across, panel: &Panel, top: f64, rows: &[Row]) {
    let values = panel.lines.iter().flat_map(|line| rows.iter().map(line.value));
    let (step, highest) = scale(values.fold(0.0, f64::max));
    let bottom = top + PANEL;
    let y = |value: f64| bottom - PANEL * value / highest;
    let mut tick = 0.0;
    while tick <= highest * 1.001 {
        let (at, right) = (y(tick), WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d5d9e0\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            LEFT - 7.0,
            at + 4.0,
            number(tick)
        );
        tick += step;
    }
    let _ = writeln!(
        svg,
        "<text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        top + PANEL / 2.0,
        panel.label
    );
    let mut x = LEFT + 8.0;
    for line in panel.lines {
        let mut points = String::new();
        let mut before = None;
        for row in rows {
            let (right, down) = (across.x(row.at.as_secs_f64()), y((line.value)(row)));
            if let Some(before) = before.filter(|_| line.is_stepped) {
                let _ = write!(points, "{right:.1},{before:.1} ");
            }
            let _ = write!(points, "{right:.1},{down:.1} ");
            before = Some(down);
        }
        let colour = line.colour;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            points.trim_end()
        );
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 16.0,
            top - 9.0 + if top > TOP { 0.0 } else { 22.0 },
            top - 9.0 + if top > TOP { 0.0 } else { 22.0 },
            x + 21.0,
            top - 5.0 + if top > TOP { 0.0 } else { 22.0 },
            line.label
        );
        x += 45.0 + LETTER * f64::from(u32::try_from(line.label.len()).unwrap_or(0));
    }
}

fn time_axis(svg: &mut String, across: Across, top: f64) {
    let (step, _) = scale(across.seconds * 0.45);
    let mut tick = 0.0;
    while tick <= across.seconds {
        let x = across.x(tick);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{}\" stroke=\"#555\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            top + 5.0,
            top + 19.0,
            number(tick)
        );
        tick += step;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">seconds of wall clock</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        top + 38.0
    );
}

/// The tick distance, 1, 2 or 5 times a power of ten, for about five ticks, and the tick at or above
/// `highest`.
fn scale(highest: f64) -> (f64, f64) {
    let highest = highest.max(0.5);
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| step * 5.0 >= highest);
    let step = step.unwrap_or(power * 10.0);
    (step, (highest / step).ceil() * step)
}

fn number(value: f64) -> String {
    if value.fract().abs() < 1e-6 || value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{draw, number, scale};
    use crate::plan::{Choice, sample};
    use crate::timeline::{Phase, Row, Timeline};

    #[test]
    fn axes_have_round_steps() {
        assert_eq!(scale(12.0), (5.0, 15.0));
        assert_eq!(scale(880.0), (200.0, 1_000.0));
        assert_eq!(scale(4.0), (1.0, 4.0));
        assert_eq!([number(5.0), number(0.2), number(0.1 + 0.2 + 0.7)], ["5", "0.2", "1"]);
    }

    #[test]
    fn every_phase_and_panel_is_labelled() {
        let plan = sample(Choice {
            speed: 5.0,
            events_per_second: 2_000,
            bomb_events: 9,
            replicas: None,
            cpu_factor: 1,
        });
        let mut timeline = Timeline::new(plan.sync);
        for (second, phase) in [(0, Phase::Night), (30, Phase::Bomb)] {
            timeline.enter(phase, Duration::from_secs(second));
            timeline.push(Row {
                at: Duration::from_secs(second + 10),
                phase,
                replicas: 3,
                ready: 3,
                desired: 7,
                proposals: vec![Some(7), None],
                backlog_bytes: 4e6,
                oldest_seconds: 1.5,
                accepted_per_second: 10.0,
                applied_per_second: 9.0,
            });
        }
        let svg = draw(&plan, &timeline);
        for text in ["night", "bomb", "replicas", "backlog, MB", "oldest message, s", "seconds of wall clock"]
        {
            assert!(svg.contains(&format!(">{text}<")), "{text} is missing:\n{svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
