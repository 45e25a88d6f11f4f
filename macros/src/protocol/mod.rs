//! `#[derive(Protocol)]`.

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, Result, Type, Variant};

pub(crate) fn expand(input: DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "`Protocol` is derived for an enum: one variant for each call that a server answers",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "`Protocol` cannot be derived for a generic enum: both ends of a call must name the same types",
        ));
    }
    if let Some(attribute) = input.attrs.iter().find(|a| a.path().is_ident("reply")) {
        return Err(Error::new_spanned(attribute, "`#[reply(T)]` belongs to a variant, not to the enum"));
    }
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "a protocol needs at least one variant"));
    }
    let mut calls = Vec::new();
    let mut errors: Option<Error> = None;
    for variant in &data.variants {
        match Call::new(&input.ident, variant) {
            Ok(call) => calls.push(call),
            Err(error) => match &mut errors {
                Some(all) => all.combine(error),
                None => errors = Some(error),
            },
        }
    }
    match errors {
        Some(errors) => Err(errors),
        None => Ok(write(&input, &calls)),
    }
}

fn write(input: &DeriveInput, calls: &[Call<'_>]) -> TokenStream {
    let (vis, ask) = (&input.vis, &input.ident);
    let reply = format_ident!("{ask}Reply");
    let client = format_ident!("{ask}Client");
    let reply_doc = format!("The replies to [`{ask}`], each under the name of the call that it answers.");
    let client_doc = format!("The calls of [`{ask}`] as methods of a handle to a server that answers them.");

    let variants = calls.iter().map(|Call { cfgs, name, reply: of, .. }| {
        let doc = format!("The reply to [`{ask}::{name}`].");
        quote! { #(#cfgs)* #[doc = #doc] #name(#of) }
    });
    let serialized = calls.iter().map(|Call { cfgs, name, .. }| {
        quote! { #(#cfgs)* Self::#name(reply) => ::serde::Serialize::serialize(reply, serializer) }
    });
    let methods = calls.iter().map(|call| {
        let Call { cfgs, docs, name, reply: of, method, arguments, value } = call;
        // With a single variant nothing is left to match.
        let other = (calls.len() > 1).then(|| {
            // Attributes may leave only one.
            let allow =
                calls.iter().any(|c| !c.cfgs.is_empty()).then(|| quote! { #[allow(unreachable_patterns)] });
            quote! { #allow _ => ::core::option::Option::None, }
        });
        quote! {
            #(#cfgs)*
            #(#docs)*
            fn #method(&self #(, #arguments)*) -> ::beamline::gen_server::Request<#ask, #reply, #of> {
                ::beamline::gen_server::Client::request(self, #value, |reply| match reply {
                    #reply::#name(reply) => ::core::option::Option::Some(reply),
                    #other
                })
            }
        }
    });

    quote! {
        #[doc = #reply_doc]
        #vis enum #reply { #(#variants,)* }

        impl ::serde::Serialize for #reply {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                match self { #(#serialized,)* }
            }
        }

        impl ::beamline::gen_server::Protocol for #ask {
            type Reply = #reply;
        }

        #[doc = #client_doc]
        #vis trait #client: ::beamline::gen_server::Client<#ask> { #(#methods)* }

        impl<C: ::beamline::gen_server::Client<#ask> + ?Sized> #client for C {}
    }
}

/// One variant, and its method.
struct Call<'a> {
    cfgs: Vec<&'a Attribute>,
    docs: Vec<TokenStream>,
    name: &'a Ident,
    reply: Type,
    method: Ident,
    arguments: Vec<TokenStream>,
    /// The variant, made of the method's arguments.
    value: TokenStream,
}

impl<'a> Call<'a> {
    fn new(ask: &Ident, variant: &'a Variant) -> Result<Self> {
        let name = &variant.ident;
        let docs: Vec<_> = attributes(variant, "doc").map(|doc| quote! { #doc }).collect();
        let default = format!("Calls with [`{ask}::{name}`].");
        let types = variant.fields.iter().map(|field| &field.ty);
        let names: Vec<_> = match &variant.fields {
            Fields::Named(fields) => fields.named.iter().filter_map(|field| field.ident.clone()).collect(),
            Fields::Unnamed(fields) => (0..fields.unnamed.len()).map(|i| format_ident!("a{i}")).collect(),
            Fields::Unit => Vec::new(),
        };
        Ok(Self {
            cfgs: attributes(variant, "cfg").collect(),
            docs: if docs.is_empty() { vec![quote! { #[doc = #default] }] } else { docs },
            name,
            reply: reply_type(variant)?,
            method: method_name(name),
            arguments: names.iter().zip(types).map(|(name, ty)| quote! { #name: #ty }).collect(),
            value: match &variant.fields {
                Fields::Named(_) => quote! { #ask::#name { #(#names),* } },
                Fields::Unnamed(_) => quote! { #ask::#name(#(#names),*) },
                Fields::Unit => quote! { #ask::#name },
            },
        })
    }
}

fn attributes<'a>(variant: &'a Variant, name: &'static str) -> impl Iterator<Item = &'a Attribute> {
    variant.attrs.iter().filter(move |attribute| attribute.path().is_ident(name))
}

fn reply_type(variant: &Variant) -> Result<Type> {
    let mut replies = attributes(variant, "reply");
    let Some(reply) = replies.next() else {
        let name = &variant.ident;
        return Err(Error::new_spanned(
            variant,
            format!(
                "`{name}` needs `#[reply(T)]`, the type of its reply; `#[reply(())]` is answered with `ok`"
            ),
        ));
    };
    if let Some(second) = replies.next() {
        return Err(Error::new_spanned(
            second,
            "a call has one reply: this variant already has a `#[reply(T)]`",
        ));
    }
    reply.parse_args().map_err(|e| {
        Error::new(e.span(), format!("`#[reply(T)]` takes one type, the reply to this call: {e}"))
    })
}

/// The variant in snake case, by serde's rule, so that the method and the atom on the wire are named alike.
fn method_name(variant: &Ident) -> Ident {
    let mut name = String::new();
    for c in variant.to_string().trim_start_matches("r#").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    match name.as_str() {
        // These four cannot be raw identifiers.
        "self" | "super" | "crate" | "_" => format_ident!("{name}_", span = variant.span()),
        _ if syn::parse_str::<Ident>(&name).is_ok() => Ident::new(&name, variant.span()),
        _ => Ident::new_raw(&name, variant.span()),
    }
}
