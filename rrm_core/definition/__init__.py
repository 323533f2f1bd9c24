"""The definition of a reweight: rule, plan and floating-point formats. Imports no other subpackage."""
