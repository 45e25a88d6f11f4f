//! `#[sim]`.

#[cfg(test)]
mod tests;

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, FnArg, ItemFn, LitInt, RangeLimits, Result, ReturnType, Token};

/// What is between the attribute's brackets: which seeds, if it says, from the first to before the last.
#[derive(Default)]
pub(crate) struct Options {
    seeds: Option<(u64, u64)>,
}

const USAGE: &str = "`#[sim]` takes which seeds are run, as in `#[sim(seeds = 0..200)]`, or nothing";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self::default());
        }
        let name: syn::Ident = input.parse().map_err(|error| Error::new(error.span(), USAGE))?;
        if name != "seeds" {
            return Err(Error::new(name.span(), USAGE));
        }
        input.parse::<Token![=]>().map_err(|error| Error::new(error.span(), USAGE))?;
        let at = input.span();
        let (start, end) = seeds(input).map_err(|error| {
            Error::new(error.span(), "`seeds` is a range of whole numbers with both ends, as in `0..200`")
        })?;
        if start >= end {
            return Err(Error::new(at, "there is no seed in this range: the test would test nothing"));
        }
        if input.parse::<Option<Token![,]>>().is_ok() && !input.is_empty() {
            return Err(input.error(USAGE));
        }
        Ok(Self { seeds: Some((start, end)) })
    }
}

fn seeds(input: ParseStream<'_>) -> Result<(u64, u64)> {
    let start = input.parse::<LitInt>()?.base10_parse()?;
    let limits: RangeLimits = input.parse()?;
    let last = input.parse::<LitInt>()?;
    let end = last.base10_parse::<u64>()?;
    match limits {
        RangeLimits::HalfOpen(_) => Ok((start, end)),
        RangeLimits::Closed(_) => match end.checked_add(1) {
            Some(end) => Ok((start, end)),
            None => Err(Error::new(last.span(), "too many")),
        },
    }
}

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a `#[sim]` function only says which nodes there are, before anything runs: it is not async, the programs \
             that it gives to the nodes are",
        ));
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a `#[sim]` function is a test and cannot be generic",
        ));
    }
    let arguments: Vec<&FnArg> = signature.inputs.iter().collect();
    if !matches!(arguments.as_slice(), [FnArg::Typed(_)]) {
        let wrong = "a `#[sim]` function takes the cluster that it sets up: `sim: &mut beamline_sim::Sim`";
        return Err(match arguments.as_slice() {
            [] => Error::new(signature.paren_token.span.join(), wrong),
            _ => Error::new_spanned(&signature.inputs, wrong),
        });
    }
    if let ReturnType::Type(..) = &signature.output {
        return Err(Error::new_spanned(
            &signature.output,
            "a `#[sim]` function returns nothing: what must hold is said to the cluster, with `sim.check(..)`",
        ));
    }
    if let Some(attribute) = function.attrs.iter().find(|attribute| attribute.path().is_ident("test")) {
        return Err(Error::new_spanned(attribute, "`#[sim]` makes a test already: `#[test]` is not needed"));
    }
    let seeds = match options.seeds {
        None => quote! { ::core::option::Option::None },
        Some((start, end)) => {
            let (start, end) = (Literal::u64_unsuffixed(start), Literal::u64_unsuffixed(end));
            quote! { ::core::option::Option::Some(#start..#end) }
        }
    };
    let (attributes, name, visibility) = (&function.attrs, &signature.ident, &function.vis);
    let (inputs, block) = (&signature.inputs, &function.block);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        #visibility fn #name() {
            fn #name(#inputs) #block
            ::beamline_sim::test(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                #seeds,
                #name,
            );
        }
    })
}
