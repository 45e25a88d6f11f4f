//! The derive macros of beamline: sugar only, each expands to code that a reader could have written.

use proc_macro::TokenStream;

/// Gives the callers of a server whose calls are an enum a method for each variant, with that variant's reply.
#[proc_macro_derive(Protocol, attributes(reply))]
pub fn derive_protocol(input: TokenStream) -> TokenStream {
    let _ = input;
    TokenStream::new()
}
