"""What a reweight is: the rule, the plan, and the number formats they are exact in. Imports nothing above."""
