; What JavaScript and TypeScript share

(comment) @comment

; Definitions

(class_declaration name: (_) @name body: (_) @body) @definition.class
(export_statement declaration: (class_declaration name: (_) @name body: (_) @body)) @definition.class
(variable_declarator name: (identifier) @name value: (class body: (_) @body)) @definition.class

(function_declaration name: (identifier) @name body: (_) @body) @definition.function
(export_statement declaration: (function_declaration name: (identifier) @name body: (_) @body)) @definition.function
(generator_function_declaration name: (identifier) @name body: (_) @body) @definition.function
(export_statement
  declaration: (generator_function_declaration name: (identifier) @name body: (_) @body)) @definition.function

(method_definition name: (_) @name body: (_) @body) @definition.method

(lexical_declaration . (variable_declarator
  name: (identifier) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)])) @definition.function
(export_statement declaration: (lexical_declaration . (variable_declarator
  name: (identifier) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]))) @definition.function
(variable_declarator
  name: (identifier) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @definition.function

(assignment_expression
  left: [(identifier) @name (member_expression property: (property_identifier) @name)]
  right: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @definition.function
(pair
  key: (property_identifier) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @definition.function

(program (lexical_declaration (variable_declarator name: (identifier) @name)) @definition.variable)
(program (variable_declaration (variable_declarator name: (identifier) @name)) @definition.variable)
(program (export_statement
  declaration: (lexical_declaration (variable_declarator name: (identifier) @name))) @definition.variable)

; Decisions

[
  (if_statement)
  (for_statement)
  (for_in_statement)
  (while_statement)
  (do_statement)
  (catch_clause)
  (switch_case)
  (ternary_expression)
] @branch
(binary_expression operator: ["&&" "||" "??"]) @branch
(augmented_assignment_expression operator: ["&&=" "||=" "??="]) @branch

[
  (if_statement)
  (for_statement)
  (for_in_statement)
  (while_statement)
  (do_statement)
  (try_statement)
  (switch_statement)
  (with_statement)
] @nest
(else_clause (if_statement) @chained)
