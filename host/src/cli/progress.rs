//! Progress of long work on stderr: rows, rate and time left on a terminal, silence elsewhere. It refuses to be waited for.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A piece of work under way; dropping it takes the bar off the screen.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub(super) fn start(label: &str, total: u64, unit: &str, visible: bool, colour: bool) -> Self {
        let bar = if visible { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let paint = if colour { ".cyan/dim" } else { "" };
        let template =
            format!("{{prefix:12}} [{{bar:30{paint}}}] {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left");
        // The template is ours; a version of indicatif that rejects it costs the looks, not the work.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label.to_owned());
        Self { bar, started: Instant::now() }
    }

    /// Counts `amount` more.
    pub fn advance(&self, amount: u64) {
        self.bar.inc(amount);
    }

    /// Takes the bar off the screen; returns how long it all took.
    pub fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.started.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
