"""Pure rules, with no Django and no database: prompts, answers, prices and what models take."""
