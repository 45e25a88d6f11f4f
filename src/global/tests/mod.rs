mod core;
mod hostile;
mod names;
mod nodes;
