mod machines;
mod model;
