mod hostile;
mod nodes;
