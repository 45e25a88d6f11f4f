mod core;
mod model;
mod phoenix;
mod processes;
