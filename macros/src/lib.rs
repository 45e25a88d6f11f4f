//! The macros of beamline: sugar only, each expands to code that a reader could have written.

mod protocol;
mod sim;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Gives the callers of a server a method for each variant of its call enum, which returns that variant's own reply.
///
/// Each variant says with `#[reply(T)]` what it is answered with. For an enum `Ask` the derive writes
///
/// - `AskReply`, an enum of the replies under the same variant names. A server answers `AskReply::Add(12)`; callers on
///   other nodes receive the inner value alone, here `12`.
/// - `AskClient`, a trait of every handle through which an `Ask` can be called, with a method for each variant. The
///   method is the variant's name in snake case and takes the variant's fields. A method of the handle itself
///   (`stop`, say) goes before one of the trait; `AskClient::stop(&server)` still reaches it.
/// - `impl Protocol for Ask`.
///
/// ```text
/// #[derive(Serialize, Deserialize, Protocol)]
/// #[serde(rename_all = "snake_case")]
/// enum Ask {
///     #[reply(i64)]
///     Get,
///     #[reply(i64)]
///     Add(i64),
///     #[reply(Result<f64, Refusal>)]
///     Window { secs: u32 },
/// }
///
/// let n: i64 = counter.add(5).await?;
/// ```
///
/// The code it writes names the crates `beamline` and `serde`.
#[proc_macro_derive(Protocol, attributes(reply))]
pub fn derive_protocol(input: TokenStream) -> TokenStream {
    protocol::expand(parse_macro_input!(input as DeriveInput))
        .unwrap_or_else(|e| e.into_compile_error())
        .into()
}

/// Makes a function that sets up a simulated cluster a test, which runs it once for each seed.
///
/// The function takes `sim: &mut beamline_sim::Sim` and says which nodes there are, what they do and what must hold. The
/// first seed that does not pass is run twice, shrunk and reported: the test's panic is the report, and report, trace,
/// timeline and schedule are in `target/sim/NAME`. `BEAMLINE_SIM_SEED=N` runs one seed, `BEAMLINE_SIM_SEEDS=N` sets how
/// many, and `BEAMLINE_SIM_TIME=SECONDS` runs fresh ones for so long. Without `seeds` there are 20.
///
/// ```text
/// #[beamline::sim(seeds = 0..200)]
/// fn every_call_is_answered_once(sim: &mut beamline_sim::Sim) {
///     for host in ["one", "two", "three"] {
///         sim.node(host, move |world| my_service::run(world, host));
///     }
/// }
/// ```
///
/// The code it writes names the crate `beamline_sim`.
#[proc_macro_attribute]
pub fn sim(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as sim::Options);
    sim::expand(options, parse_macro_input!(function as ItemFn))
        .unwrap_or_else(|e| e.into_compile_error())
        .into()
}

/// Places a function beside the others that every message runs through, so that they take few pages of memory.
///
/// Of a large program's instructions these are some hundred functions among thousands. Scattered, each is on a page of its own, and on
/// processors that forget their translations of addresses when another program runs each costs a walk through the page tables.
///
/// `#[hot(relations)]` places one beside those that monitors and links run through, as calls to a name do, apart from the rest.
///
/// Not part of the interface: for beamline itself.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn hot(place: TokenStream, function: TokenStream) -> TokenStream {
    let section = if place.is_empty() { "text".to_owned() } else { place.to_string() };
    // A section's name is unsafe as a linker may give it a meaning; to this one none does.
    let placed = format!(
        r#"#[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = ".beamline.{section}"))]"#
    );
    let mut out: TokenStream = placed.parse().expect("an attribute");
    out.extend(function);
    out
}
