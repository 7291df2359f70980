"""Components of a mixture: where examples come from, how they are changed, how they are drawn."""
