"""Which distributions fulfil a set of requirements, theirs included: enough of a resolver for build requirements."""
