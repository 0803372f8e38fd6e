//! What a scrape and a person get to see of findings and series.

pub mod evidence;
pub mod har;
pub mod logs;
pub mod page;
mod repeat;
pub mod text;
pub mod waterfall;
