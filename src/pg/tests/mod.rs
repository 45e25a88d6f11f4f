mod core;
mod model;
mod processes;
