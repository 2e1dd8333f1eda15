//! How far a transfer or an operation is, for people: a bar with bytes, speed and time left where
//! standard error is a terminal; elsewhere a line now and then, only for steps that take long; nothing with
//! `--json`.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wire::v1::OperationBody;

use crate::output::Output;
use crate::table::size;

/// Shows one thing at a time.
#[derive(Debug)]
pub(crate) struct Shown {
    output: Output,
    way: Way,
    step: Mutex<Option<Step>>,
    /// What was last said to be waited for.
    waited_for: Mutex<Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Silent,
    Lines,
    Bars,
}

#[derive(Debug)]
struct Step {
    what: String,
    total: Option<u64>,
    done: u64,
    bar: Option<ProgressBar>,
    began: Instant,
    spoken: Instant,
}

impl Shown {
    /// Shows in the way that fits the output.
    pub(crate) fn new(output: Output) -> Shown {
        let way = match (output.is_json(), std::io::stderr().is_terminal()) {
            (true, _) => Way::Silent,
            (false, true) => Way::Bars,
            (false, false) => Way::Lines,
        };
        Shown { output, way, step: Mutex::default(), waited_for: Mutex::default() }
    }

    /// Shows nothing: for several things at a time.
    pub(crate) fn nothing(output: Output) -> Shown {
        Shown { way: Way::Silent, output, step: Mutex::default(), waited_for: Mutex::default() }
    }

    /// Is nothing shown but the end?
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.way, Way::Silent)
    }

    /// Shows how far an operation is.
    pub(crate) fn operation(&self, operation: &OperationBody) {
        if operation.state.has_ended() {
            return self.end();
        }
        let total = operation.bytes_total.filter(|total| *total > 0);
        let fits = |step: &Step| step.what == operation.phase && step.total == total;
        if !self.on_step(|step| fits(step)).unwrap_or(false) {
            self.begin(&operation.phase, total);
        }
        self.on_step(|step| step.done = operation.bytes_done);
        self.show();
        self.waits_for(operation.waits_for.as_deref());
    }

    /// Says once what is waited for, when that comes up or changes.
    fn waits_for(&self, what: Option<&str>) {
        let mut told = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = what
            && told.as_deref() != Some(what)
        {
            self.note(&format!("it waits for {what}"));
        }
        *told = what.map(str::to_owned);
    }

    fn on_step<T>(&self, work: impl FnOnce(&mut Step) -> T) -> Option<T> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    fn show(&self) {
        let line = self.on_step(|step| match &step.bar {
            Some(bar) => {
                bar.set_position(step.done);
                None
            }
            None if step.spoken.elapsed() < SILENCE => None,
            None => {
                step.spoken = Instant::now();
                Some(step.line())
            }
        });
        if self.way == Way::Lines
            && let Some(line) = line.flatten()
        {
            self.output.say(&line);
        }
    }
}

impl Progress for Shown {
    fn begin(&self, what: &str, bytes: Option<u64>) {
        self.end();
        let bar = (self.way == Way::Bars).then(|| bar(what, bytes));
        let now = Instant::now();
        let (what, total) = (what.to_owned(), bytes);
        let step = Step { what, total, done: 0, bar, began: now, spoken: now };
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    fn advance(&self, bytes: u64) {
        self.on_step(|step| step.done = step.done.saturating_add(bytes));
        self.show();
    }

    fn note(&self, text: &str) {
        let bar = self.on_step(|step| step.bar.clone()).flatten();
        match (self.way, bar) {
            (Way::Silent, _) => {}
            (_, Some(bar)) => bar.suspend(|| self.output.say(&format!("note: {text}"))),
            (_, None) => self.output.say(&format!("note: {text}")),
        }
    }

    fn end(&self) {
        if let Some(step) = self.step.lock().unwrap_or_else(PoisonError::into_inner).take()
            && let Some(bar) = step.bar
        {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
    }
}

impl Step {
    /// `uploading model: 12.0 MiB of 80.0 MiB, 4.0 MiB/s, 17s left`
    fn line(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let speed = self.done as f64 / seconds;
        let mut line = self.what.clone();
        if self.done > 0 {
            line.push_str(&format!(": {}", size(self.done)));
            if let Some(total) = self.total {
                line.push_str(&format!(" of {}", size(total)));
            }
            line.push_str(&format!(", {}/s", size(speed as u64)));
        }
        if let Some(left) = self.total.and_then(|total| total.checked_sub(self.done))
            && speed >= 1.0
        {
            line.push_str(&format!(", {}s left", (left as f64 / speed).ceil() as u64));
        }
        line
    }
}

fn bar(what: &str, bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
    let template = if bytes.is_some() { KNOWN } else { UNKNOWN };
    // Both templates are constants of this file; a test draws them.
    bar.set_style(ProgressStyle::with_template(template).expect("a constant that is tested"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

const KNOWN: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
const UNKNOWN: &str = "{spinner} {msg} {elapsed}";
/// A step that is over sooner gets no line.
const SILENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bars_can_be_drawn() {
        bar("uploading", Some(10)).finish_and_clear();
        bar("packing", None).finish_and_clear();
    }

    #[test]
    fn a_line_tells_bytes_speed_and_time_left() {
        let began = Instant::now() - Duration::from_secs(2);
        let (what, total) = ("uploading model".to_owned(), Some(4 << 20));
        let step = Step { what, total, done: 2 << 20, bar: None, began, spoken: began };
        let line = step.line();
        assert!(line.starts_with("uploading model: 2.0 MiB of 4.0 MiB, "), "{line}");
        assert!(line.ends_with("s left"), "{line}");
    }

    #[test]
    fn bytes_of_a_step_that_has_ended_are_not_counted_to_the_next() {
        let shown = Shown::nothing(Output::new(true));
        shown.begin("a", Some(2));
        shown.advance(2);
        shown.begin("b", Some(5));
        shown.advance(1);
        assert_eq!(shown.on_step(|step| step.done), Some(1));
        shown.end();
        assert_eq!(shown.on_step(|step| step.done), None);
    }
}
