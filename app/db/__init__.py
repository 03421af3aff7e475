"""The only room that speaks SQL: tables, repositories, and the unit of work that commits once."""
