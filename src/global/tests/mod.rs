mod core;
mod hostile;
mod nodes;
