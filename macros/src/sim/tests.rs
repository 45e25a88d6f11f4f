use quote::quote;
use syn::parse_quote;

use super::*;

fn error(options: TokenStream, function: TokenStream) -> String {
    let function = || syn::parse2(function).and_then(|function| expand(syn::parse2(options)?, function));
    function().map(|tokens| tokens.to_string()).unwrap_err().to_string()
}

fn on_a_function(options: TokenStream) -> String {
    error(options, quote! { fn calls(sim: &mut Sim) {} })
}

fn of_a_function(function: TokenStream) -> String {
    error(quote! {}, function)
}

#[test]
fn a_function_becomes_a_test_that_runs_it_by_its_seeds() {
    let function = parse_quote! {
        /// Calls under chaos.
        #[should_panic]
        fn calls(sim: &mut Sim) {
            sim.node("one", one);
        }
    };
    let tokens = expand(syn::parse2(quote! { seeds = 0..200 }).unwrap(), function).unwrap();
    let expected = quote! {
        #[::core::prelude::v1::test]
        #[doc = r" Calls under chaos."]
        #[should_panic]
        fn calls() {
            fn calls(sim: &mut Sim) {
                sim.node("one", one);
            }
            ::beamline_sim::test(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(calls)),
                ::core::option::Option::Some(0..200),
                calls,
            );
        }
    };
    assert_eq!(tokens.to_string(), expected.to_string());
}

#[test]
fn seeds_may_be_left_out_and_their_end_may_be_among_them() {
    let tokens = |options| {
        let options: Options = syn::parse2(options).unwrap();
        expand(options, parse_quote! { fn f(sim: &mut Sim) {} }).unwrap().to_string()
    };
    assert!(tokens(quote! {}).contains(":: core :: option :: Option :: None"));
    assert!(tokens(quote! { seeds = 5..=9 }).contains("Some (5 .. 10)"));
    assert!(tokens(quote! { seeds = 5..9, }).contains("Some (5 .. 9)"));
}

#[test]
fn wrong_options_are_named_with_their_remedy() {
    let usage = "`#[sim]` takes which seeds are run, as in `#[sim(seeds = 0..200)]`, or nothing";
    for options in [
        quote! { seed = 1 },
        quote! { 0..200 },
        quote! { seeds },
        quote! { seeds(0..200) },
        quote! { seeds = 0..200, runs = 3 },
    ] {
        assert_eq!(on_a_function(options.clone()), usage, "{options}");
    }
    for options in
        [quote! { seeds = 200 }, quote! { seeds = 0.. }, quote! { seeds = -1..5 }, quote! { seeds = a..b }]
    {
        let text = on_a_function(options.clone());
        assert_eq!(text, "`seeds` is a range of whole numbers with both ends, as in `0..200`", "{options}");
    }
    for options in [quote! { seeds = 5..5 }, quote! { seeds = 6..=5 }] {
        assert_eq!(on_a_function(options), "there is no seed in this range: the test would test nothing");
    }
}

#[test]
fn a_function_that_sets_up_no_cluster_is_refused() {
    assert_eq!(
        of_a_function(quote! { async fn calls(sim: &mut Sim) {} }),
        "a `#[sim]` function only says which nodes there are, before anything runs: it is not async, the programs that \
         it gives to the nodes are"
    );
    assert_eq!(
        of_a_function(quote! { fn calls<T>(sim: &mut Sim) {} }),
        "a `#[sim]` function is a test and cannot be generic"
    );
    for function in [
        quote! { fn calls() {} },
        quote! { fn calls(&self) {} },
        quote! { fn calls(sim: &mut Sim, seed: u64) {} },
    ] {
        assert_eq!(
            of_a_function(function),
            "a `#[sim]` function takes the cluster that it sets up: `sim: &mut beamline_sim::Sim`"
        );
    }
    assert_eq!(
        of_a_function(quote! { fn calls(sim: &mut Sim) -> Result<(), ()> { Ok(()) } }),
        "a `#[sim]` function returns nothing: what must hold is said to the cluster, with `sim.check(..)`"
    );
    assert_eq!(
        of_a_function(quote! { #[test] fn calls(sim: &mut Sim) {} }),
        "`#[sim]` makes a test already: `#[test]` is not needed"
    );
}
