"""Is another verdict program active?"""
