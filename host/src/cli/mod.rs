//! x
mod format; mod progress; mod report; mod exit; mod ui; mod project; 
pub use ui::Ui;
pub use project::Project;
