; Definitions

(class_definition name: (identifier) @name body: (block) @body) @definition.class
(decorated_definition
  definition: (class_definition name: (identifier) @name body: (block) @body)) @definition.class

(function_definition name: (identifier) @name body: (block) @body) @definition.function
(decorated_definition
  definition: (function_definition name: (identifier) @name body: (block) @body)) @definition.function

(module (expression_statement (assignment left: (identifier) @name)) @definition.variable)
(class_definition body: (block (expression_statement (assignment left: (identifier) @name)) @definition.variable))
(module (type_alias_statement left: (type (identifier) @name)) @definition.type)

; Docstrings

(module . (comment)* . (expression_statement . (string) @doc .))
(class_definition body: (block . (expression_statement . (string) @doc .)))
(function_definition body: (block . (expression_statement . (string) @doc .)))

; Decisions

[
  (if_statement)
  (elif_clause)
  (for_statement)
  (while_statement)
  (except_clause)
  (case_clause)
  (conditional_expression)
  (boolean_operator)
  (for_in_clause)
  (if_clause)
  (assert_statement)
] @branch

[
  (if_statement)
  (for_statement)
  (while_statement)
  (try_statement)
  (with_statement)
  (match_statement)
] @nest
